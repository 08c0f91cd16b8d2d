/**
 * Review: submitted images one after the other, to accept, to return with a comment, or to fix in
 * the studio. The next image's first picture is fetched in advance.
 */

import { get, getItems, imageUrl, post, put } from "./api.js";
import { Comments } from "./comments.js";
import { confirmDialog, el, fill, isTyping, openDialog } from "./dom.js";
import { listenTo } from "./gestures.js";
import { openHelp } from "./help.js";
import { icon } from "./icons.js";
import { wordsOf } from "./labelling.js";
import { MaskList } from "./mask_list.js";
import { SavedMasks } from "./saved_masks.js";
import { REVIEW_KEYS, actionOf, keyFor } from "./keys.js";
import { announce, clearBanners, notify, notifyError, startNotices } from "./notices.js";
import { openImage } from "./image.js";
import { ReviewPeople } from "./review_people.js";
import { readSettings, storeSettings } from "./settings.js";
import { Stage } from "./stage.js";
import { STATE_WORDS } from "./states.js";
import { paintLit } from "./studio_paint.js";
import { togglePanel } from "./studio_panels.js";
import { swatch } from "./swatch.js";
import { listed, shownTime, t, tn } from "./texts.js";
import { switchTheme, themeButton } from "./theme.js";
import { zoomView } from "./view.js";
import { VERDICT_WORDS } from "./words.js";

const PAGE = 100;
const ZOOM_STEP = 1.25;

export async function openReview(root, { id, image }, app) {
  const review = new Review(Number(id), app);
  root.replaceChildren(review.element);
  await review.open(image ? Number(image) : null);
  return review;
}

class Review {
  constructor(projectId, { outbox }) {
    this.projectId = projectId;
    this.outbox = outbox;
    this.queue = []; // images that are up for review
    this.at = 0;
    this.image = null;
    this.marked = null; // the mask highlighted by the pointer or in the list
    this.classes = new Map();
    this.stage = new Stage({ label: t("Image with its masks. Press ? for all keys.") });
    const { opacity, showMasks } = readSettings();
    Object.assign(this.stage, { opacity, showMasks });
    this.title = el("div.title");
    this.position = el("span.quiet");
    this.masksHead = el("h2");
    this.maskList = new MaskList({ row: (one) => this.rowOf(one), signature: (one) => `${this.masks.colorOf(one)} ${one.verdict} ${one.version}`, isFaded: (one) => this.people.isLeftOut(one), over: (one) => this.mark(one), empty: t("No masks.") });
    this.verdicts = el("ul.verdicts", { tabindex: "0", "aria-label": t("History") }); // it scrolls
    this.people = new ReviewPeople({ take: (userIds) => this.take(userIds), changed: () => this.update() });
    this.comments = new Comments(this.stage, () => this.masks);
    this.pointed = null; // [x, y] in the image
    this.element = this.build();
    listenTo(this.stage, {
      tool: () => ({ down() {}, move() {}, up: (press) => this.mark(this.maskAt(press.xy)), cancel() {} }),
      pick: (xy) => this.mark(this.maskAt(xy)),
      hover: (press) => {
        this.pointed = press?.xy ?? this.pointed;
        this.mark(press && this.maskAt(press.xy));
      },
      spaceHeld: () => false,
      spaceUsed: () => {},
    });
    this.stage.paint = (context, view) => this.paint(context, view);
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey);
  }

  build() {
    const button = (action, text, kind = "button") => el(kind, { type: "button", onclick: () => this.act(action) }, text, el("kbd", {}, keyFor(REVIEW_KEYS, action).toUpperCase()));
    const glyph = (action, name, label, kind = "button.icon") => el(kind, { type: "button", title: `${label} (${keyFor(REVIEW_KEYS, action)})`, "aria-label": label, onclick: () => this.act(action) }, icon(name));
    const back = el("a.icon", { href: `#/project/${this.projectId}`, title: t("Back to the project"), "aria-label": t("Back to the project") }, icon("back"));
    this.verdictBar = el("div.work-row", {}, glyph("previous", "back", t("Previous image")), button("return", t("Return")), button("fix", t("Fix")), button("accept", t("Accept"), "button.primary"), glyph("next", "next", t("Next image")));
    const zoom = el("div.zoombar", { role: "toolbar", "aria-label": t("View") }, glyph("zoom-", "minus", t("Zoom out")), glyph("zoom+", "plus", t("Zoom in")), glyph("fit", "fit", t("Whole image")), glyph("masks:visible", "eye", t("Show or hide all masks")));
    const header = el("header.bar", {}, back, this.title, el("span.grow"), this.position, zoom, glyph("comment", "comment", t("Comment")), glyph("panel", "list", t("Masks and history")), themeButton(), glyph("help", "help", t("Keys"), "button.icon.keys-button"));
    const canvas = el("main.canvas", { "aria-label": t("Image") }, this.stage.element, this.comments.pins, el("div.workbar", { role: "group", "aria-label": t("Verdict") }, this.verdictBar), startNotices());
    const history = el("section", {}, el("h2", {}, t("History")), this.verdicts);
    const panel = el("aside.panel", { "aria-label": t("Masks and history") }, this.people.element, el("section.masks", {}, this.masksHead, this.maskList.element), this.comments.element, history);
    this.panel = panel;
    return el("div.studio.review", {}, header, el("div.workspace", {}, canvas, panel));
  }

  async open(imageId) {
    const [page, classes] = await Promise.all([get(`projects/${this.projectId}/images?review=submitted&limit=${PAGE}`), getItems(`projects/${this.projectId}/classes`)]);
    this.queue = page.items;
    this.classes = new Map(classes.map((one) => [one.id, one]));
    this.at = Math.max(0, this.queue.findIndex(({ id }) => id === imageId));
    if (imageId && this.queue[this.at]?.id !== imageId) {
      this.queue.unshift(await get(`images/${imageId}`)); // beyond the first page, or accepted already
      this.at = 0;
    }
    await this.show();
  }

  close({ isShown = true } = {}) {
    this.stage.close();
    this.masks?.close();
    document.removeEventListener("keydown", this.onKey);
    if (isShown) clearBanners(); // else they are another page's
  }

  async show() {
    const waiting = this.queue[this.at];
    this.masks?.close();
    if (!waiting) return this.showEnd();
    this.image = null; // no verdict until everything is loaded
    this.submissions = [];
    this.marked = null;
    this.stage.layers = [];
    this.stage.show(openImage(waiting, () => this.stage.repaint()));
    this.stage.levels.start().catch(notifyError);
    this.masks = new SavedMasks(waiting.id, this.outbox, () => this.classes);
    const { masks } = this;
    const parts = ["reviews", "submissions", "agreement"].map((part) => getItems(`images/${waiting.id}/${part}`));
    const [image, verdicts, submissions, agreements] = await Promise.all([get(`images/${waiting.id}`), ...parts, masks.load()]);
    if (masks !== this.masks) return undefined; // already at another image
    this.image = image;
    this.submissions = submissions.filter(({ outcome }) => outcome === "annotated");
    this.people.show(image, submissions, agreements, masks);
    this.showVerdicts(verdicts);
    this.comments.open(image.id).catch(notifyError);
    this.update();
    announce(listed([image.path, tn("{n} mask.", "{n} masks.", masks.present.length)]));
    const next = this.queue[this.at + 1];
    if (next) new Image().src = imageUrl(next.id, 512);
    return undefined;
  }

  showEnd() {
    document.title = `${t("Review")} · samkit`;
    this.element.replaceWith(startNotices(), el("main.message", {}, el("h1", {}, t("Nothing is waiting for review")), el("p", {}, t("Images come here when their annotators submit them.")), el("a.button.primary", { href: `#/project/${this.projectId}` }, t("Back to the project"))));
  }

  update() {
    const { path, size_hw: [height, width], review } = this.image;
    document.title = `${path} · ${t("Review")} · samkit`;
    fill(this.title, el("h1", { title: path }, path), el("span.quiet.wide-only", {}, `${width} × ${height}`), el(`span.badge.${review}`, {}, STATE_WORDS[review]));
    this.position.textContent = t("{n} of {total}", { n: this.at + 1, total: `${this.queue.length}${this.queue.length >= PAGE ? "+" : ""}` });
    const { present } = this.masks;
    const { marked } = this;
    const others = this.masks.stacked.filter((one) => one !== marked);
    const layerOf = (one) => this.masks.layerOf(one);
    this.stage.layers = others.map(layerOf);
    this.stage.faint = new Set(others.filter((one) => this.people.isLeftOut(one)).map(layerOf));
    this.stage.tint = marked ? 0.35 : 1; // others fade around a marked one
    this.people.update();
    fill(this.masksHead, t("Masks"), " ", el("span.count", {}, String(present.length)));
    this.maskList.show(present, marked?.key ?? null);
    this.stage.redraw();
  }

  rowOf(one) {
    const words = wordsOf(one.attributes);
    return [
      this.people.boxOf(one),
      el("button.mask-row", { type: "button", "data-key": `mask-${one.key}` }, swatch(this.masks.colorOf(one)), el("span.number", {}, String(one.number)), el("span.name", {}, this.classes.get(one.classId)?.name ?? t("no class")), words && el("span.words", { title: words }, words), el("span.quiet", {}, one.userName)),
      ...["accepted", "rejected"].map((verdict) => this.verdictButton(one, verdict)),
    ];
  }

  verdictButton(one, verdict) {
    const n = one.number;
    const [glyph, title, label] = verdict === "accepted" ? ["check", t("Accept this mask"), t("Accept mask {n}", { n })] : ["cross", t("Reject this mask"), t("Reject mask {n}", { n })];
    return el(`button.icon.verdict.${verdict}`, { type: "button", "data-key": `${verdict}-${one.key}`, "aria-pressed": String(one.verdict === verdict), title, "aria-label": label, onclick: () => this.judgeMask(one, verdict) }, icon(glyph));
  }

  /** Say that one mask is right or wrong, or take that back. */
  async judgeMask(one, verdict) {
    const wanted = one.verdict === verdict ? null : verdict;
    try {
      const now = await put(`annotations/${one.id}/verdict`, { version: one.version, verdict: wanted });
      one.verdict = now.verdict;
      announce(wanted ? t("Mask {n} is {verdict}.", { n: one.number, verdict: VERDICT_WORDS[wanted] }) : t("Mask {n} is not judged.", { n: one.number }));
      this.update();
    } catch (error) {
      notifyError(error);
    }
  }

  showVerdicts(verdicts) {
    const rows = verdicts.map(({ user_name: name, verdict, comment, at }) => el("li", {}, el("p", {}, el(`span.badge.${verdict}`, {}, VERDICT_WORDS[verdict] ?? verdict), ` ${t("by {name}, {time}", { name, time: shownTime(at) })}`), comment && el("blockquote", {}, comment)));
    fill(this.verdicts, ...(rows.length ? rows : [el("li.empty", {}, t("Not reviewed before."))]));
  }

  maskAt(xy) {
    return this.image && this.masks.at(xy);
  }

  mark(one) {
    if (one === this.marked || !this.image) return;
    this.marked = one;
    this.update();
  }

  paint(context, view) {
    if (!this.marked || !this.stage.showMasks) return;
    const layer = this.masks.layerOf(this.marked);
    layer.build();
    layer.drawTint(context, view, Math.min(1, 1.2 * this.stage.opacity));
    paintLit(context, view, layer);
  }

  key(event) {
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const found = actionOf(REVIEW_KEYS, event);
    if (!found || (found.key === "Enter" && event.target.closest?.("button, a"))) return;
    event.preventDefault();
    this.act(found.action);
  }

  act(action) {
    const { stage } = this;
    const middle = stage.view && [stage.view.width / 2, stage.view.height / 2];
    const acts = {
      accept: () => this.accept(),
      return: () => this.askComment(),
      fix: () => this.fix(),
      "mask:accepted": () => this.marked && this.judgeMask(this.marked, "accepted"),
      "mask:rejected": () => this.marked && this.judgeMask(this.marked, "rejected"),
      comment: () => this.image && this.comments.ask(this.marked, this.marked ? null : this.pointed),
      next: () => this.go(1),
      previous: () => this.go(-1),
      "masks:visible": () => {
        stage.showMasks = !stage.showMasks;
        storeSettings({ showMasks: stage.showMasks });
        stage.redraw();
      },
      "opacity-": () => this.fade(-0.1),
      "opacity+": () => this.fade(0.1),
      "zoom+": () => stage.look(zoomView(stage.view, ZOOM_STEP, ...middle)),
      "zoom-": () => stage.look(zoomView(stage.view, 1 / ZOOM_STEP, ...middle)),
      fit: () => stage.fit(),
      full: () => stage.look(zoomView(stage.view, 1 / stage.view.scale, ...middle)),
      panel: () => togglePanel(this.panel, stage),
      theme: () => switchTheme(),
      help: () => openHelp(REVIEW_KEYS, { pointer: false }),
    };
    acts[action]?.();
  }

  fade(change) {
    this.stage.opacity = Math.min(1, Math.max(0.1, this.stage.opacity + change));
    storeSettings({ opacity: this.stage.opacity });
    this.stage.redraw();
  }

  go(step) {
    const to = this.at + step;
    if (to < 0 || to >= this.queue.length) return notify(step > 0 ? t("This is the last image.") : t("This is the first image."));
    this.at = to;
    return this.show().catch(notifyError);
  }

  async accept() {
    const { hindrance, chosen } = this.people;
    if (hindrance) return notify(hindrance);
    const ids = chosen ?? this.masks?.present.map(({ id }) => id) ?? [];
    const isRejected = (id) => this.masks.present.find((one) => one.id === id)?.verdict === "rejected";
    const rejected = ids.filter(isRejected);
    if (!rejected.length) return this.judge("accept", { annotation_ids: chosen }, t("Accepted"));
    const sure = await confirmDialog(t("Accept without the rejected masks?"), tn("{n} mask is rejected: deleted, if the image is accepted. Return the image to have them corrected.", "{n} masks are rejected: deleted, if the image is accepted. Return the image to have them corrected.", rejected.length), t("Accept the others"));
    return sure && this.judge("accept", { annotation_ids: ids.filter((id) => !isRejected(id)) }, t("Accepted"));
  }

  /** Make the image's masks those that these people submitted. */
  async take(userIds) {
    const { id, version } = this.image;
    try {
      await post(`images/${id}/restore`, { version, user_ids: userIds });
    } catch (error) {
      notifyError(error);
    }
    await this.show().catch(notifyError);
  }

  askComment() {
    if (!this.image) return;
    const comment = el("textarea", { rows: "4", maxlength: "2000", required: true, autofocus: true, "aria-label": t("Comment") });
    const people = this.submissions.map((one) => [one, el("input", { type: "checkbox", checked: this.isReturnedTo(one) })]);
    const whom = people.length > 1 && el("fieldset", {}, el("legend", {}, t("To")), el("div.choices", {}, ...people.map(([{ user_name: name }, box]) => el("label.check", {}, box, name))));
    const form = el("form", {}, el("p.quiet", {}, t("Annotators see the comment when they open the image again.")), whom, comment, el("footer", {}, el("button.primary", { type: "submit" }, t("Return"), el("kbd", {}, "Ctrl ⏎"))));
    const dialog = openDialog(t("Return {path}", { path: this.image.path }), form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = people.filter(([, box]) => box.checked).map(([{ user_id: id }]) => id);
      if (people.length > 1 && !chosen.length) return notify(t("Choose at least one person."), "bad");
      dialog.close();
      return this.judge("return", { comment: comment.value, user_ids: people.length > 1 ? chosen : null }, t("Returned"));
    });
    comment.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
  }

  /** Whether an image is returned to a person by default: their masks are there, or nobody's are. */
  isReturnedTo({ user_id: id }) {
    const makers = this.masks.present.map(({ userId }) => userId);
    return makers.includes(id) || !this.submissions.some(({ user_id: other }) => makers.includes(other));
  }

  async judge(verdict, body, done) {
    if (!this.image) return;
    const { id, version, path } = this.image;
    try {
      await post(`images/${id}/${verdict}`, { version, ...body });
      notify(`${done}${t(": ")}${path}`, "good");
      this.queue.splice(this.at, 1);
      this.at = Math.min(this.at, Math.max(0, this.queue.length - 1));
      if (this.queue.length) await this.show();
      else await this.open(null); // there may be more than one page
    } catch (error) {
      notifyError(error);
      if (error.status === 409) await this.show().catch(notifyError); // it has changed: show it again
    }
  }

  fix() {
    if (this.image) location.hash = `#/image/${this.image.id}`;
  }
}

