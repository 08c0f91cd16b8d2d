/** Selected images of the gallery, and what reviewers do with all of them. */

import { get, post, query } from "./api.js";
import { askToAssign } from "./assigning.js";
import { confirmDialog, el, fill, openDialog } from "./dom.js";
import { notify, notifyError } from "./notices.js";
import { inOwnWords } from "./refusals.js";
import { t, tn } from "./texts.js";

const AT_ONCE = 100; // images of one request, which the server takes
const PAGE = 1000;
/** What is said when it is done, by number. */
const DONE = {
  accept: (n) => tn("{n} image accepted", "{n} images accepted", n),
  return: (n) => tn("{n} image returned", "{n} images returned", n),
  reopen: (n) => tn("{n} image reopened", "{n} images reopened", n),
};

export class Selection {
  /** @param {import("./gallery.js").Gallery} gallery */
  constructor(gallery) {
    this.gallery = gallery;
    /** @type {Map<number, number>} versions, as they were shown, by image */
    this.chosen = new Map();
    this.before = null; // index of the image that was chosen last
    this.working = ""; // what is being done
    this.element = el("div.selection", { role: "toolbar", "aria-label": t("Selected images"), hidden: true });
  }

  has({ id }) {
    return this.chosen.has(id);
  }

  /** Choose an image or not, with Shift all from the last one to it. */
  toggle(index, isOn, isRange) {
    const { images } = this.gallery;
    const from = isRange && this.before !== null ? this.before : index;
    for (const { id, version } of images.slice(Math.min(from, index), Math.max(from, index) + 1)) {
      if (isOn) this.chosen.set(id, version);
      else this.chosen.delete(id);
    }
    this.before = index;
    this.update();
  }

  clear() {
    this.chosen.clear();
    this.before = null;
    this.update();
  }

  /** Choose all images that the gallery's search finds, also those that it has not loaded. */
  async chooseAll() {
    const { project, filter } = this.gallery;
    let after = 0;
    while (after !== null && this.gallery.filter === filter) {
      const page = await get(`projects/${project.id}/images?${query({ ...filter, after, limit: PAGE })}`);
      for (const { id, version } of page.items) this.chosen.set(id, version);
      after = page.next_after;
      this.update();
    }
  }

  /** Ask what is wrong, and return the images. */
  askWhy() {
    const comment = el("textarea", { required: true, maxlength: "2000", rows: "3", autofocus: true, "aria-label": t("Comment") });
    const form = el("form", {}, el("p", {}, t("What should be done? Their annotators see it on each image.")), comment, el("footer", {}, el("button.primary", { type: "submit" }, tn("Return {n} image", "Return {n} images", this.chosen.size))));
    const dialog = openDialog(t("Return images"), form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close();
      this.judge("return", comment.value).catch(notifyError);
    });
  }

  /** @param {keyof typeof DONE} verdict */
  async judge(verdict, comment = "") {
    const { project } = this.gallery;
    const all = [...this.chosen].map(([id, version]) => ({ id, version }));
    const refused = [];
    let count = 0;
    try {
      for (let at = 0; at < all.length; at += AT_ONCE) {
        this.working = t("{n} of {total}", { n: at, total: all.length });
        this.update();
        const answer = await post(`projects/${project.id}/images/review`, { verdict, comment, images: all.slice(at, at + AT_ONCE) });
        refused.push(...answer.refused);
        count += answer.done.length;
        for (const { id } of answer.done) this.chosen.delete(id);
        this.gallery.replace(answer.done);
      }
    } finally {
      this.working = "";
      this.update();
    }
    const done = DONE[verdict](count);
    const why = inOwnWords(refused[0]?.detail ?? "");
    if (!refused.length) notify(`${done}${t(".")}`, "good");
    else notify(t("{done}, {n} not and still selected: {why}.", { done, n: refused.length, why: refused.length > 1 ? t("{why}, and others", { why }) : why }), "bad");
  }

  /** Make the selected images ones that measure annotators. */
  async makeHoneyPots() {
    const { project } = this.gallery;
    const ids = [...this.chosen.keys()];
    const sure = await confirmDialog(tn("Make {n} image a honey pot?", "Make {n} images honey pots?", ids.length), t("Accepted images are offered to annotators as if nobody had annotated them, to compare what they make with what was accepted. Exports have the accepted masks. The page Team has the scores, and ends it."), t("Make honey pots"));
    if (!sure) return;
    for (let at = 0; at < ids.length; at += AT_ONCE) await post(`projects/${project.id}/honey_pots`, { image_ids: ids.slice(at, at + AT_ONCE) });
    notify(tn("{n} image is a honey pot now.", "{n} images are honey pots now.", ids.length), "good");
    await this.gallery.show({ ...this.gallery.filter });
  }

  update() {
    const { size } = this.chosen;
    this.element.hidden = size === 0;
    const button = (text, act, kind = "button") => el(kind, { type: "button", "data-key": text, disabled: this.working !== "", onclick: () => act()?.catch?.(notifyError) }, text);
    const found = this.gallery.numFound;
    fill(
      this.element,
      el("strong", { "aria-live": "polite" }, this.working || t("{n} selected", { n: size })),
      found > size && button(t("Select all {n}", { n: found }), () => this.chooseAll()),
      button(t("Accept"), () => this.judge("accept"), "button.primary"),
      button(t("Return…"), () => this.askWhy()),
      button(t("Reopen"), () => this.judge("reopen")),
      button(t("Assign…"), () => askToAssign(this.gallery.project, [...this.chosen.keys()], (images) => this.gallery.replace(images))),
      button(t("Honey pots…"), () => this.makeHoneyPots()),
      button(t("Clear"), () => this.clear()),
    );
    this.gallery.showChosen();
  }
}
