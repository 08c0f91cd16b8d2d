/**
 * Comments on the open image: threads pinned to a place, a mask or the image as a whole, as pins above
 * the stage and as a list in the side panel. Threads are answered, resolved and opened again there.
 *
 * @typedef {{id: number, user_id: number, user_name: string, text: string, at: string}} Comment
 * @typedef {{id: number, annotation_id: number | null, xy: [number, number] | null, resolved: boolean, comments: Comment[]}} Thread
 */

import { getItems, post, put } from "./api.js";
import { el, fill, formDialog } from "./dom.js";
import { icon } from "./icons.js";
import { announce, notifyError } from "./notices.js";
import { boxOf } from "./rle.js";
import { shownTime, t, tn } from "./texts.js";
import { showPlace, toScreen } from "./view.js";

const MAX_LENGTH = "2000"; // characters, as the server has it

export class Comments {
  /** @param {import("./stage.js").Stage} stage @param {() => import("./saved_masks.js").SavedMasks | null} masks */
  constructor(stage, masks) {
    this.stage = stage;
    this.masks = masks;
    this.imageId = null;
    /** @type {Thread[]} */
    this.threads = [];
    this.withResolved = false;
    this.answers = new Map(); // unsent answers by thread
    this.heading = el("h2");
    this.list = el("ul.threads", { "aria-label": t("Comments") });
    this.element = el("section.comments", { hidden: true }, this.heading, this.list);
    this.pins = el("div.pins", { role: "group", "aria-label": t("Pins of comments") });
    const onView = stage.onView;
    stage.onView = (view) => {
      onView(view);
      this.place();
    };
  }

  /** Show the comments of an image. */
  async open(imageId) {
    Object.assign(this, { imageId, threads: [], answers: new Map() });
    this.draw();
    await this.load();
  }

  async load() {
    const { imageId } = this;
    const threads = await getItems(`images/${imageId}/comments`);
    if (imageId !== this.imageId) return; // already at another one
    this.threads = threads;
    this.draw();
  }

  get unresolved() {
    return this.threads.filter(({ resolved }) => !resolved);
  }

  /**
   * Ask for a comment on a mask, a place, or without both on the image.
   * @param {{id: number, number: number} | null} mask @param {[number, number] | null} xy
   */
  ask(mask, xy) {
    const about = mask?.id ? t("mask {n}", { n: mask.number }) : xy ? t("this place") : t("the image");
    const text = el("textarea", { rows: "4", maxlength: MAX_LENGTH, required: true, autofocus: true, "aria-label": t("Comment") });
    formDialog(t("Comment on {about}", { about }), [text], t("Comment"), async () => {
      const made = await post(`images/${this.imageId}/comments`, { text: text.value, annotation_id: mask?.id ?? null, xy });
      this.threads.push(made);
      this.draw();
      announce(t("Commented."));
    });
    submitByKey(text);
  }

  async change(thread, act) {
    try {
      const changed = await act();
      this.threads[this.threads.findIndex(({ id }) => id === thread.id)] = changed;
    } catch (error) {
      notifyError(error);
    }
    this.draw();
  }

  draw() {
    const { threads, withResolved } = this;
    const resolved = threads.length - this.unresolved.length;
    const toggle = resolved > 0 && el("button.plain", { type: "button", "data-key": "resolved-comments", "aria-pressed": String(withResolved), onclick: () => this.showResolved(!withResolved) }, t("{n} resolved", { n: resolved }));
    this.element.hidden = !threads.length;
    fill(this.heading, t("Comments"), " ", el("span.count", {}, String(this.unresolved.length)), el("span.grow"), toggle);
    fill(this.list, ...threads.filter((one) => withResolved || !one.resolved).map((one) => this.row(one)));
    fill(this.pins, ...this.unresolved.filter((one) => this.placeOf(one)).map((one) => this.pin(one)));
    this.place();
  }

  showResolved(on) {
    this.withResolved = on;
    this.draw();
  }

  row(thread) {
    const { id, resolved, comments } = thread;
    const answer = el("textarea", { rows: "1", maxlength: MAX_LENGTH, required: true, placeholder: t("Answer"), "aria-label": t("Answer"), "data-key": `answer-${id}`, value: this.answers.get(id) ?? "", oninput: () => this.answers.set(id, answer.value) });
    const form = el("form.row", {}, answer, el("button", { type: "submit" }, t("Send")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.change(thread, async () => {
        const changed = await post(`comments/${id}/answers`, { text: answer.value });
        this.answers.delete(id);
        return changed;
      });
    });
    submitByKey(answer);
    const resolve = el("button", { type: "button", "data-key": `resolve-${id}`, onclick: () => this.change(thread, () => put(`comments/${id}/resolved`, { resolved: !resolved })) }, resolved ? t("Open again") : t("Resolve"));
    const where = el("button.plain.where", { type: "button", "data-key": `where-${id}`, disabled: !this.placeOf(thread), onclick: () => this.goTo(thread) }, this.nameOf(thread));
    const said = comments.map(({ user_name: name, text, at }) => el("li", {}, el("p.quiet", {}, el("strong", {}, name), ` ${shownTime(at)}`), el("p.said", {}, text)));
    return el("li.thread", { "data-thread": String(id), class: resolved ? "thread resolved" : "thread" }, el("p.row", {}, where, el("span.grow"), resolve), el("ol", {}, ...said), form);
  }

  pin(thread) {
    const [first] = thread.comments;
    const label = t("Comment by {name} on {about}: {text}", { name: first.user_name, about: this.nameOf(thread), text: first.text });
    return el("button.pin", { type: "button", "data-pin": String(thread.id), title: `${first.user_name}: ${first.text}`, "aria-label": label, onclick: () => this.show(thread) }, icon("comment"), thread.comments.length > 1 && el("span.count", {}, String(thread.comments.length)));
  }

  /** What a thread is about. */
  nameOf({ annotation_id: maskId, xy }) {
    const mask = this.maskOf(maskId);
    if (maskId) return mask ? t("mask {n}", { n: mask.number }) : t("a deleted mask");
    return xy ? t("a place") : t("the image");
  }

  maskOf(maskId) {
    return this.masks()?.present.find(({ id }) => id === maskId) ?? null;
  }

  /** Where a thread is in the image; null for nowhere in particular. */
  placeOf({ annotation_id: maskId, xy }) {
    if (xy) return xy;
    const mask = maskId ? this.maskOf(maskId) : null;
    const box = mask && boxOf(mask.mask);
    return box && [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  }

  /** Put the pins where they belong on the screen. */
  place() {
    const { view } = this.stage;
    if (!view) return;
    for (const thread of this.unresolved) {
      const pin = this.pins.querySelector(`[data-pin="${thread.id}"]`);
      const place = pin && this.placeOf(thread);
      if (!place) continue;
      const [x, y] = toScreen(view, ...place);
      pin.hidden = x < 0 || y < 0 || x > view.width || y > view.height;
      pin.style.transform = `translate(${x}px, ${y}px)`;
    }
  }

  /** Bring a thread into sight in the panel. */
  show(thread) {
    const row = this.list.querySelector(`[data-thread="${thread.id}"]`);
    row?.scrollIntoView({ block: "nearest" });
    row?.querySelector("textarea")?.focus();
  }

  /** Bring the place of a thread into sight in the image. */
  goTo(thread) {
    const { stage } = this;
    stage.look(showPlace(stage.view, this.placeOf(thread), 80));
    const pin = this.pins.querySelector(`[data-pin="${thread.id}"]`);
    pin?.classList.add("lit");
    setTimeout(() => pin?.classList.remove("lit"), 1500);
  }

  /** In a few words, for who opens the image. */
  get summary() {
    const count = this.unresolved.length;
    return count ? tn("{n} open comment.", "{n} open comments.", count) : "";
  }
}

/** Ctrl and Enter sends a form from its text. */
function submitByKey(text) {
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) text.form?.requestSubmit();
  });
}
