/**
 * Review of an image that several people annotated independently: whose masks there are, in a colour
 * for each person, and which of them to accept. "Take" is done by the server at once, which makes the
 * image's masks those of a submission; unticked masks are left out when the image is accepted.
 *
 * @typedef {{user_id: number, user_name: string, outcome: string, annotation_ids: number[]}} Submission
 */

import { el, fill } from "./dom.js";
import { swatch } from "./swatch.js";
import { listed, t, tn } from "./texts.js";

// Okabe and Ito's colours, as in the plots.
const COLORS = ["#0284c7", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#7a68d8"];

export class ReviewPeople {
  /** @param {{take: (userIds: number[]) => void, changed: () => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.rows = el("ul.people", { "aria-label": t("People") });
    this.agreement = el("span.quiet");
    this.element = el("section", { hidden: true }, el("h2.row", {}, t("Annotators"), el("span.grow"), this.agreement), this.rows);
    this.show({ num_annotators: 1 }, [], [], null);
  }

  /**
   * @param {{num_annotators: number}} image
   * @param {Submission[]} submissions
   * @param {{mean_iou: number}[]} agreements
   * @param {import("./saved_masks.js").SavedMasks | null} masks
   */
  show({ num_annotators: wanted }, submissions, agreements, masks) {
    this.people = wanted > 1 ? submissions.filter(({ outcome }) => outcome === "annotated") : [];
    this.masks = masks;
    this.leftOut = new Set(); // ids of masks
    this.element.hidden = !this.isShared;
    if (!this.isShared) return;
    masks.colorOfPerson = (userId) => this.colorOf(userId);
    const mean = agreements.reduce((sum, { mean_iou: iou }) => sum + iou, 0) / (agreements.length || 1);
    this.agreement.textContent = agreements.length ? t("mean IoU {mean}", { mean: mean.toFixed(2) }) : "";
  }

  /** Whether there is a choice to make. */
  get isShared() {
    return this.people.length > 1;
  }

  colorOf(userId) {
    const at = this.people.findIndex(({ user_id: id }) => id === userId);
    return at < 0 ? undefined : COLORS[at % COLORS.length];
  }

  /** Ids of the masks to accept; null for all. */
  get chosen() {
    return this.isShared ? this.masks.present.map(({ id }) => id).filter((id) => !this.leftOut.has(id)) : null;
  }

  /** Why the image cannot be accepted yet; null if it can. */
  get hindrance() {
    if (!this.isShared || this.leftOut.size) return null;
    const makers = new Set(this.masks.present.map(({ userId }) => userId));
    const both = this.people.filter(({ user_id: id }) => makers.has(id)).map(({ user_name: name }) => name);
    if (both.length < 2) return null;
    return t("{names} and {last} annotated this image: take one person's masks, or untick those to leave out.", { names: listed(both.slice(0, -1)), last: both.at(-1) });
  }

  isLeftOut({ id }) {
    return this.leftOut.has(id);
  }

  /** A box to tick a mask; nothing where there is no choice. */
  boxOf(one) {
    if (!this.isShared) return false;
    const change = () => {
      if (!this.leftOut.delete(one.id)) this.leftOut.add(one.id);
      this.actions.changed();
    };
    return el("input", { type: "checkbox", "data-key": `accept-${one.key}`, checked: !this.isLeftOut(one), "aria-label": t("Accept mask {n} by {name}", { n: one.number, name: one.userName }), onchange: change });
  }

  update() {
    if (!this.isShared) return;
    const present = this.masks.present.map(({ id }) => id);
    const row = (name, color, people) => {
      const ids = [...new Set(people.flatMap(({ annotation_ids: own }) => own))];
      const isTaken = ids.length === present.length && ids.every((id) => present.includes(id));
      const take = el("button", { type: "button", "data-key": `take-${name}`, "aria-pressed": String(isTaken), disabled: isTaken, onclick: () => this.actions.take(people.map(({ user_id: id }) => id)) }, isTaken ? t("Taken") : t("Take"));
      return el("li", {}, swatch(color), el("span.name", {}, name), el("span.quiet", {}, tn("{n} mask", "{n} masks", ids.length)), take);
    };
    fill(this.rows, ...this.people.map((one) => row(one.user_name, this.colorOf(one.user_id), [one])), row(t("Everyone"), null, this.people));
  }
}
