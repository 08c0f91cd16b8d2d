/** The dialog of one's API tokens, by which programs act in one's name. */

import { getItems, post, signedIn } from "./api.js";
import { dataTable, el, field, fill, openDialog, select } from "./dom.js";
import { notifyError } from "./notices.js";
import { shownTime, t } from "./texts.js";
import { ROLE_WORDS } from "./words.js";

const ROLES = ["annotator", "reviewer", "admin"];
const LIFETIMES = [["", t("Never")], ["7", t("In 7 days")], ["30", t("In 30 days")], ["90", t("In 90 days")], ["365", t("In a year")]];

export async function openTokens() {
  const list = el("div");
  const made = el("p", { role: "status" });
  const draw = async () => fill(list, ...listOf(await getItems("session/tokens"), draw));
  const name = el("input", { required: true, maxlength: "100", placeholder: t("What it is for") });
  const role = select(ROLES.slice(0, ROLES.indexOf(signedIn.user.role) + 1).map((one) => [one, ROLE_WORDS[one]]), signedIn.user.role);
  const days = select(LIFETIMES, "90");
  const failure = el("p.failure", { role: "alert" });
  const form = el("form", {}, field(t("Name"), name), field(t("Role, at most"), role), field(t("Expires"), days), failure, el("footer", {}, el("button.primary", { type: "submit" }, t("Make a token"))));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    failure.textContent = "";
    try {
      const { secret } = await post("session/tokens", { name: name.value, role: role.value, days: days.value ? Number(days.value) : null });
      fill(made, t("Copy it now, it is not shown again:"), " ", el("code.secret", {}, secret));
      name.value = "";
      await draw();
    } catch (error) {
      failure.textContent = error.message;
    }
  });
  try {
    await draw();
    openDialog(t("API tokens"), el("div.stack", {}, el("p.quiet", {}, t("A program sends a token with each request, as “Authorization: Bearer …”, and acts in your name.")), list, made, form));
  } catch (error) {
    notifyError(error);
  }
}

function listOf(tokens, changed) {
  if (!tokens.length) return [];
  const rows = tokens.map((one) => {
    const revoke = () => post(`tokens/${one.id}/revoke`).then(changed, notifyError);
    const end = one.revoked ? t("revoked") : el("button", { type: "button", "data-key": `revoke-${one.id}`, "aria-label": t("Revoke {name}", { name: one.name }), onclick: revoke }, t("Revoke"));
    const cells = [one.name, ROLE_WORDS[one.role], one.last_used_at ? shownTime(one.last_used_at) : t("never"), one.expires_at ? shownTime(one.expires_at) : t("never")];
    return el("tr", {}, ...cells.map((text) => el("td", {}, text)), el("td", {}, end));
  });
  return [dataTable(t("API tokens"), [t("Name"), t("Role"), t("Last used"), t("Expires"), ""], rows)];
}
