/** The bar that decides about the current proposal. */

import { el, fill } from "./dom.js";
import { STUDIO_KEYS, keyFor, shownKey } from "./keys.js";
import { t, tn } from "./texts.js";

export class ProposalBar {
  /** @param {import("./proposal_actions.js").ProposalActions} proposals */
  constructor(proposals) {
    this.proposals = proposals;
    this.least = el("input", { type: "range", min: "0", max: "0.6", step: "0.01", "aria-label": t("Least similarity"), oninput: () => proposals.setLeast(Number(this.least.value)) });
    this.element = el("div.workbar.proposals", { role: "group", "aria-label": t("Proposal"), hidden: true });
  }

  update() {
    const { proposals, element } = this;
    element.hidden = !proposals.isOn;
    if (element.hidden) return;
    const { current, waiting, at, isComplete, wanted } = proposals;
    const button = (kind, action, label, act) => el(kind, { type: "button", "data-key": `proposal-${action}`, disabled: action !== "cancel" && !current, onclick: act }, label, el("kbd", {}, shownKey(keyFor(STUDIO_KEYS, action))));
    const nothing = isComplete ? t("None that much alike") : t("Looking for masks…");
    const title = current ? t("Proposal {n} of {total}", { n: at + 1, total: waiting.length }) : nothing;
    const figure = current && (current.similarity ?? current.score);
    const quiet = current?.item ? ` · ${t("there before")}` : current ? ` · ${figure?.toFixed(2) ?? ""}` : "";
    const what = wanted.example ? ` ${t("like mask {n}", { n: wanted.example.number })}` : wanted.words ? ` “${wanted.words}”` : "";
    if (wanted.example) this.least.value = String(proposals.least);
    const least = wanted.example && el("label.least", { title: t("How much alike they must look, times how good a mask it is") }, t("Alike"), this.least, el("output", {}, proposals.least.toFixed(2)));
    fill(
      element,
      el("div.work-row", {}, el("span.work-title", { title: isComplete ? tn("{n} proposal", "{n} proposals", waiting.length) : t("More are coming") }, title, what, isComplete ? "" : " …", el("span.quiet", {}, quiet)), least, button("button", "cancel", t("Stop"), () => proposals.stop())),
      el("div.work-row", {}, button("button", "proposal:correct", t("Correct"), () => proposals.correct()), button("button", "delete", t("Reject"), () => proposals.reject()), button("button", "proposal:all", t("Accept all"), () => proposals.acceptAll()), button("button.primary", "accept", t("Accept"), () => proposals.accept())),
    );
  }
}
