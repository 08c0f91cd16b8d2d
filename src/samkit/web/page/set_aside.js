/** Skipping an image, or reporting that it cannot be used; each with a reason. */

import { el, field, openDialog } from "./dom.js";
import { t } from "./texts.js";

const REASONS = [t("Not sure what to mark"), t("Takes too long"), t("Blurred or too dark"), t("Wrong image")];

/**
 * Ask for the reason, and what to do.
 * @param {{path: string, open: boolean}} image
 * @param {(act: "skip" | "unusable", reason: string) => void} setAside
 */
export function openSetAside({ path, open }, setAside) {
  const reason = el("input", { required: true, maxlength: "2000", autocomplete: "off", autofocus: true });
  const chip = (text) => el("button.chip", { type: "button", onclick: () => choose(text) }, text);
  const choose = (text) => {
    reason.value = text;
    reason.focus();
  };
  const form = el(
    "form",
    {},
    field(t("Reason"), reason),
    el("div.chips", { role: "group", "aria-label": t("Frequent reasons") }, ...REASONS.map(chip)),
    el("p.quiet", {}, t("A skipped image is offered to other people. One that cannot be used is offered to nobody, until a reviewer reopens it. Neither is exported unless it is asked for.")),
    el("footer", {}, el("button", { type: "submit", value: "unusable", class: open ? null : "primary" }, t("Cannot be used")), open && el("button.primary", { type: "submit", value: "skip" }, t("Skip"))),
  );
  const dialog = openDialog(t("Set aside {path}", { path }), form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close();
    setAside(event.submitter.value, reason.value);
  });
  // By itself Enter would press the form's first button.
  reason.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    form.requestSubmit(form.querySelector("button.primary"));
  });
}
