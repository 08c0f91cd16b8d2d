/** The studio's panels: tools, the bar of the current mask, classes, list of masks, status. */

import { isReviewer } from "./api.js";
import { ClassList } from "./class_list.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { openDetails } from "./image_details.js";
import { STUDIO_KEYS, keyFor, shownKey } from "./keys.js";
import { wordsOf } from "./labelling.js";
import { MaskLayer, THUMBNAIL_CELLS } from "./layers.js";
import { MaskList } from "./mask_list.js";
import { startNotices } from "./notices.js";
import { shownValues } from "./pixel_values.js";
import { ProposalBar } from "./proposal_bar.js";
import { areaOf, boxOf } from "./rle.js";
import { FIT_WORDS, PICK_WORDS } from "./shape_actions.js";
import { STATE_WORDS } from "./states.js";
import { openMore } from "./studio_more.js";
import { unreadableCard } from "./studio_problems.js";
import { swatch } from "./swatch.js";
import { listed, shownNumber, t, tn } from "./texts.js";
import { themeButton } from "./theme.js";
import { radiusOf, sliderOf } from "./tools/brush.js";
import { TOOL_WORDS, VERDICT_WORDS } from "./words.js";

const NONE = t("no class");
const THUMB = { width: 76, height: 52 };
const narrow = matchMedia("(max-width: 720px)"); // as in the style sheet

export class StudioPanels {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./outbox.js").Outbox} parts.outbox
   * @param {import("./studio_tools.js").StudioTools} parts.tools
   * @param {import("./image_hold.js").ImageHold} parts.hold
   * @param {import("./draft_actions.js").DraftActions} parts.draft
   * @param {import("./saved_actions.js").SavedActions} parts.saved
   * @param {import("./image_moves.js").ImageMoves} parts.moves
   * @param {import("./attribute_panel.js").AttributePanel} parts.attributes
   * @param {import("./looks.js").Looks} parts.looks
   * @param {import("./minimap.js").Minimap} parts.minimap
   * @param {import("./pixel_values.js").PixelValues} parts.pixels
   * @param {import("./proposal_actions.js").ProposalActions} parts.proposals
   * @param {(action: string) => void} parts.act does an action of the key table
   * @param {boolean} parts.isOpen whether wide screens show the side panel at first
   * @param {() => void} parts.readAgain tries again to read an image that could not be read
   */
  constructor({ state, stage, masks, outbox, tools, hold, draft, saved, moves, attributes, looks, minimap, pixels, proposals, act, readAgain, isOpen }) {
    Object.assign(this, { state, stage, masks, outbox, tools, hold, draft, saved, moves, attributes, looks, minimap, pixels, act, readAgain });
    this.proposalBar = new ProposalBar(proposals);
    this.thumbs = new WeakMap(); // thumbnails of candidates by their mask
    this.title = el("div.title");
    this.saveState = el("span.save-state", { "aria-live": "polite" });
    this.unreadable = el("div.stage-cover", { hidden: true });
    this.skip = el("button.skip", { type: "button", title: withKey(t("Skip, or report as unusable"), "skip"), "aria-label": t("Skip"), onclick: () => act("skip") }, icon("skip"), el("span.skip-word.wide-only", {}, t("Skip")));
    this.submit = el("button.primary", { type: "button", onclick: () => hold.submit() });
    this.rail = el("div.rail", { role: "toolbar", "aria-label": t("Tools"), "aria-orientation": "vertical" });
    this.workbar = el("div.workbar", { role: "group", "aria-label": t("Current mask") });
    this.place = el("span.place");
    this.values = el("span.pixel-values", { title: t("Values in the file") });
    this.zoom = el("button.plain", { type: "button", title: withKey("100%", "full"), onclick: () => this.act("full") });
    this.model = el("span.model-state", { "aria-live": "polite" });
    this.classes = new ClassList({ choose: (classId) => this.chooseClass(classId), add: (name) => saved.addClass(name), leave: () => this.stage.element.focus() });
    this.masksHead = el("h2");
    this.maskList = new MaskList({ row: (one) => this.maskRow(one), signature: (one) => this.maskSignature(one), isFaded: ({ visible }) => !visible, over: (one) => saved.lightUp(one), empty: t("No masks yet. Click an object in the image, or drag a box around it.") });
    this.opacity = el("input", { type: "range", min: "10", max: "100", step: "5", "aria-label": t("Opacity of masks"), oninput: () => saved.setOpacity(this.opacity.value / 100) });
    this.allVisible = el("button.icon", { type: "button", onclick: () => this.act("masks:visible") });
    this.byClass = el("input", { type: "checkbox", checked: masks.byClass, onchange: () => saved.colorByClass(this.byClass.checked) });
    this.radius = el("input", { type: "range", min: "0", max: "100", step: "1", "aria-label": t("Radius of the brush"), oninput: () => tools.setRadius(radiusOf(this.radius.value)) });
    this.hidden = el("span", { "aria-live": "polite" });
    this.element = this.build();
    this.panel.classList.toggle("closed", !isOpen);
  }

  /** Whether wide screens show the side panel. */
  get isOpen() {
    return !this.panel.classList.contains("closed");
  }

  build() {
    const button = (name, glyph, label, kind = "button.icon") => el(kind, { type: "button", title: `${label} (${keyFor(STUDIO_KEYS, name)})`, "aria-label": label, onclick: () => this.act(name) }, icon(glyph));
    const back = el("a.icon", { title: t("Back to the project"), "aria-label": t("Back to the project") }, icon("back"));
    this.back = back;
    const zoomBar = el("div.zoombar", { role: "toolbar", "aria-label": t("View") }, button("zoom-", "minus", t("Zoom out")), this.zoom, button("zoom+", "plus", t("Zoom in")), button("view:fit", "fit", t("Whole image")));
    this.number = el("button.plain.number", { type: "button", title: t("Go to an image by number or name (/)"), onclick: () => this.act("image:find") });
    this.progress = el("progress.finished", { max: "1", value: 0, "aria-label": t("Finished images") });
    const moving = el("div.moving", { role: "group", "aria-label": t("Images") }, button("image:previous", "back", t("Previous image")), el("span.number-box", {}, this.number, this.progress), button("image:next", "next", t("Next image")), el("span.roomy-only", {}, button("strip", "strip", t("Strip of images"))));
    const undo = el("div.row.tight", {}, el("span.roomy-only", {}, button("proposals", "everything", t("Masks of everything"))), button("undo", "undo", t("Undo")), button("redo", "redo", t("Redo")));
    const more = el("button.icon.more", { type: "button", title: t("More"), "aria-label": t("More"), onclick: () => openMore((action) => (action === "details" ? this.openDetails() : this.act(action))) }, icon("more"));
    const looks = el("div.row.tight", {}, el("span.roomy-only", {}, button("looks", "sliders", t("View")), button("comment", "comment", t("Comment"))), button("panel", "list", t("Masks and classes")), more, themeButton(), button("help", "help", t("Keys"), "button.icon.keys-button"));
    const header = el("header.bar", {}, back, this.title, el("span.grow"), this.saveState, moving, undo, zoomBar, looks, this.skip, this.submit);
    const status = el("div.status", {}, this.model, this.hidden, this.place, this.values);
    const canvas = el("main.canvas", { "aria-label": t("Image") }, this.stage.element, this.unreadable, this.workbar, this.proposalBar.element, status, this.minimap.element, this.looks.element, startNotices());
    const look = el("div.looks", {}, this.allVisible, this.opacity, el("label.check", { title: t("If off, each mask has its own colour") }, this.byClass, t("By class")));
    const masks = el("section.masks", {}, this.masksHead, look, this.maskList.element);
    this.panel = el("aside.panel", { "aria-label": t("Masks and classes") }, this.classes.element, this.attributes.element, masks);
    const element = el("div.studio", {}, header, el("div.workspace", {}, this.rail, canvas, this.panel));
    // After a click on a button the keys work the image again; a pin leads to its thread's answer.
    element.addEventListener("click", ({ target, detail }) => {
      if (detail > 0 && target.closest("button") && !target.closest("dialog, .pins")) this.stage.element.focus({ preventScroll: true });
    });
    return element;
  }

  /** @param {import("./comments.js").Comments} comments */
  addComments(comments) {
    this.panel.append(comments.element);
    this.stage.element.after(comments.pins);
  }

  update() {
    const { state, outbox } = this;
    const { image, project } = state;
    if (!image) return;
    this.updateTitle(image, project);
    this.element.dataset.image = image.id;
    this.element.toggleAttribute("data-ready", state.encoded);
    this.element.dataset.decoder = this.draft.prompter?.place ?? "server";
    this.element.toggleAttribute("data-rulers", this.looks.rulers);
    const unsent = outbox.waiting.length;
    this.saveState.className = `save-state${outbox.isStuck ? " bad" : ""}`;
    say(this.saveState, unsent ? (outbox.isStuck ? tn("{n} change not saved yet", "{n} changes not saved yet", unsent) : t("Saving…")) : t("Saved"));
    const label = this.state.reviewing ? t("Accept image") : t("Submit");
    fill(this.submit, el("span", {}, label), el("kbd", {}, "Ctrl ⏎"));
    this.submit.disabled = this.skip.disabled = !state.held;
    this.updateUnreadable();
    this.updatePlace();
    this.updateRail();
    this.updateWorkbar();
    this.classes.show(state.classes, state.classId);
    this.attributes.update();
    this.proposalBar.update();
    this.updateMasks();
    say(this.model, state.encoded || state.unreadable ? "" : state.lost ? t("No connection") : t("Preparing the image…"));
    this.model.classList.toggle("working", !state.encoded);
    say(this.hidden, !this.stage.showMasks && this.masks.present.length ? withKey(t("Masks are hidden"), "masks:visible") : "");
    this.showZoom();
  }

  updateUnreadable() {
    const { unreadable: detail, held } = this.state;
    const shown = `${held} ${detail}`;
    this.unreadable.hidden = detail === null;
    if (detail === null || this.unreadable.dataset.shown === shown) return;
    this.unreadable.dataset.shown = shown;
    const { hold, readAgain } = this;
    const setAside = (act, reason) => hold.setAside(act, reason);
    fill(this.unreadable, unreadableCard({ detail, held, setAside, next: () => hold.next(), again: readAgain }));
  }

  updateTitle(image, project) {
    const [height, width] = image.size_hw;
    this.back.href = project ? (this.state.reviewing && isReviewer() ? `#/project/${project.id}/review` : `#/project/${project.id}`) : "#/";
    fill(this.title, el("h1", { title: image.path }, image.path), el("span.size.quiet.wide-only", {}, `${width} × ${height}`), el(`button.badge.${image.review}`, { type: "button", title: t("Details of the image"), "data-key": "details", onclick: () => this.openDetails() }, STATE_WORDS[image.review]));
    document.title = `${image.path} · samkit`;
  }

  openDetails() {
    openDetails(this.state.image, (now) => {
      this.state.image = now;
      this.state.update();
    });
  }

  updatePlace() {
    const { place } = this.moves;
    if (!place) return;
    const { number, num_images: total, num_finished: finished } = place;
    say(this.number, `${shownNumber(number)} / ${shownNumber(total)}`);
    this.progress.value = finished / total;
    this.progress.title = tn("{n} image of {total} submitted or accepted", "{n} images of {total} submitted or accepted", finished, { total });
  }

  updateRail() {
    const { state } = this;
    const tools = Object.entries(TOOL_WORDS).map(([name, label]) => {
      const key = hint(`tool:${name}`);
      return el("button.tool", { type: "button", "data-key": `tool-${name}`, "aria-pressed": String(state.toolName === name), title: `${label} (${key})`, "aria-label": label, onclick: () => this.tools.use(name) }, icon(name), el("kbd", {}, key));
    });
    const sign = el("button.tool.sign", { type: "button", "data-key": "background", "aria-pressed": String(state.background), title: t("Background mode ({key}): clicks remove", { key: hint("background") }), "aria-label": t("Background mode"), onclick: () => this.act("background") }, icon(state.background ? "minus" : "plus"), el("kbd", {}, hint("background")));
    const fit = el("button.tool.fit", { type: "button", "data-key": "fit", title: withKey(FIT_WORDS[state.fit], "fit"), "aria-label": FIT_WORDS[state.fit], onclick: () => this.act("fit") }, icon(`fit-${state.fit}`), el("kbd", {}, hint("fit")));
    const snap = el("button.tool", { type: "button", "data-key": "snap", "aria-pressed": String(state.snap), title: withKey(t("Snap to other masks"), "snap"), "aria-label": t("Snap to other masks"), onclick: () => this.act("snap") }, icon("snap"), el("kbd", {}, hint("snap")));
    const brushing = ["brush", "eraser"].includes(state.toolName);
    this.radius.value = String(sliderOf(state.radius));
    const size = brushing && el("div.radius", { title: t("Radius of the brush: [ and ]") }, el("output", {}, `${Math.round(state.radius)} px`), this.radius);
    fill(this.rail, ...tools, el("hr"), sign, fit, snap, size);
    this.stage.element.dataset.tool = state.toolName;
  }

  updateWorkbar() {
    const { state } = this;
    const { draft } = state;
    const corners = this.tools.drawn.points.length;
    this.workbar.toggleAttribute("data-waits", draft?.waits === true);
    this.workbar.dataset.prompts = String(draft?.state.points.length ?? 0);
    this.workbar.hidden = !state.atWork && !corners;
    if (this.workbar.hidden) return;
    const candidates = draft && draft.candidates.length > 1 ? draft.candidates.map((one, i) => this.candidate(one, i)) : [];
    const { picking } = state;
    const canShape = draft?.saved && !draft.changed && !corners && !picking;
    const shape = (action, label) => el("button.small", { type: "button", "data-key": action, onclick: () => this.act(action) }, label, el("kbd", {}, hint(action)));
    const shapes = canShape && el("div.shape-row", { role: "group", "aria-label": t("Shape") }, shape("shape:merge", t("Merge")), shape("shape:subtract", t("Take away")), shape("shape:over", t("Over")), shape("shape:under", t("Under")), shape("shape:split", t("Split")), shape("shape:line", t("By line")), shape("shape:clean", t("Clean up")), shape("proposals:alike", t("All like it")));
    const what = picking ? PICK_WORDS[picking] : corners ? tn("Polygon, {n} corner", "Polygon, {n} corners", corners) : draft.waits ? t("Asking the model…") : draft.saved ? t("Mask {n}", { n: draft.saved.item.number }) : t("New mask");
    const clicks = draft?.state.events.filter(({ kind }) => kind !== "choose").length ?? 0;
    const keep = el("button.primary", { type: "button", "data-key": "accept", onclick: () => this.draft.accept() }, icon("check"), draft?.saved && !draft.changed ? t("Done") : corners ? (picking ? t("Split") : t("Finish")) : t("Accept"), el("kbd", {}, "⏎"));
    const { color, name } = state.classes.get(state.classId) ?? { color: null, name: NONE };
    const chip = el("button.class-chip", { type: "button", "data-key": "class-chip", title: withKey(t("Class"), "class:choose"), "aria-label": t("Class: {name}", { name }), onclick: () => this.openPanel() }, swatch(color), el("span.name", {}, name));
    const stop = el("button", { type: "button", "data-key": "cancel", onclick: () => this.draft.cancel() }, t("Cancel"), el("kbd", {}, "Esc"));
    fill(
      this.workbar,
      candidates.length > 0 && el("div.candidates", { role: "group", "aria-label": t("Candidates") }, ...candidates),
      el("div.work-row", {}, el("span.work-title", {}, what, clicks > 0 && el("span.quiet", {}, ` · ${tn("{n} step", "{n} steps", clicks)}`)), shapes, chip, stop, keep),
    );
  }

  candidate({ mask, iou }, i) {
    const { state } = this;
    const isChosen = state.draft.chosen === i;
    return el(
      "button.candidate",
      { type: "button", "data-key": `candidate-${i}`, "aria-pressed": String(isChosen), "aria-label": t("Candidate {n}, predicted IoU {iou}", { n: i + 1, iou: shownIou(iou) }), onclick: () => this.draft.choose(i) },
      this.thumb(mask),
      el("kbd", {}, String(i + 1)),
      el("span.iou", {}, shownIou(iou)),
    );
  }

  /** A thumbnail of the image around a candidate, tinted by it. */
  thumb(mask) {
    if (this.thumbs.has(mask)) return this.thumbs.get(mask);
    const { levels, ratio } = this.stage;
    const canvas = el("canvas", { width: THUMB.width * ratio, height: THUMB.height * ratio, "aria-hidden": "true" });
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const scale = Math.max(THUMB.width / levels.width, THUMB.height / levels.height);
    const box = boxOf(mask) ?? [0, 0, levels.width, levels.height];
    const fitting = 0.8 * Math.min(THUMB.width / (box[2] - box[0]), THUMB.height / (box[3] - box[1]));
    const view = { scale: Math.min(2, Math.max(scale, fitting)), ...THUMB };
    const at = (low, high, size, length) => Math.min(0, Math.max(size - length * view.scale, size / 2 - ((low + high) / 2) * view.scale));
    view.x = at(box[0], box[2], THUMB.width, levels.width);
    view.y = at(box[1], box[3], THUMB.height, levels.height);
    levels.draw(context, { ...view, imageWidth: levels.width, imageHeight: levels.height }, ratio, { load: false });
    context.fillStyle = "#0006";
    context.fillRect(0, 0, THUMB.width, THUMB.height);
    const layer = new MaskLayer(mask, "#38bdf8", THUMBNAIL_CELLS);
    layer.build();
    layer.drawTint(context, view, 0.65);
    layer.drawOutline(context, view, { width: 1.25, color: "#fff" });
    this.thumbs.set(mask, canvas);
    return canvas;
  }

  chooseClass(id) {
    this.saved.setClass(id);
    this.panel.classList.remove("open"); // it covers the image on narrow screens
  }

  /** Open the panel, which narrow screens show above the image and only when asked. */
  openPanel() {
    this.panel.classList.add("open");
    this.panel.classList.remove("closed");
    this.stage.resize();
  }

  focusClass() {
    this.openPanel();
    this.classes.focus();
  }

  focusAttributes() {
    this.openPanel();
    this.attributes.focus();
  }

  togglePanel() {
    togglePanel(this.panel, this.stage);
    this.state.update();
  }

  updateMasks() {
    const { present } = this.masks;
    fill(this.masksHead, t("Masks"), " ", el("span.count", {}, String(present.length)));
    const all = this.stage.showMasks;
    fill(this.allVisible, icon(all ? "eye" : "hidden"));
    const label = all ? t("Hide all masks") : t("Show all masks");
    this.allVisible.title = withKey(label, "masks:visible");
    this.allVisible.setAttribute("aria-label", label);
    this.opacity.value = String(Math.round(this.stage.opacity * 100));
    this.maskList.show(present, this.state.selectedKey);
  }

  nameOf({ classId }) {
    return this.state.classes.get(classId)?.name ?? NONE;
  }

  /** All that a row shows. */
  maskSignature(one) {
    return [one.number, this.nameOf(one), this.masks.colorOf(one), shareOf(one.mask), one.saving, one.verdict, wordsOf(one.attributes)].join();
  }

  /** @param {import("./saved_masks.js").SavedMask} one */
  maskRow(one) {
    const name = this.nameOf(one);
    const size = shareOf(one.mask);
    const words = wordsOf(one.attributes);
    const n = one.number;
    const small = (key, glyph, title, label, act) => el("button.icon.small", { type: "button", "data-key": `${key}-${one.key}`, title, "aria-label": label, onclick: act }, icon(glyph));
    const [seen, seenLabel] = one.visible ? [t("Hide"), t("Hide mask {n}", { n })] : [t("Show"), t("Show mask {n}", { n })];
    const said = [t("Mask {n}", { n }), name, words, one.verdict && t("{verdict} by the reviewer", { verdict: VERDICT_WORDS[one.verdict] }), t("{share} of the image", { share: size }), one.saving && t("not saved yet")];
    return [
      el(
        "button.mask-row",
        { type: "button", "data-key": `mask-${one.key}`, "aria-pressed": String(one.key === this.state.selectedKey), "aria-label": listed(said.filter(Boolean)), onclick: () => this.saved.choose(one) },
        swatch(this.masks.colorOf(one)),
        el("span.number", {}, String(one.number)),
        el("span.name", {}, name),
        words && el("span.words", { title: words }, words),
        one.verdict === "rejected" && el("span.rejected-mark", { title: t("Rejected by the reviewer") }, icon("cross")),
        el("span.quiet", {}, one.saving ? "…" : size),
      ),
      small("eye", one.visible ? "eye" : "hidden", seen, seenLabel, () => this.saved.toggleVisible(one)),
      small("bin", "bin", t("Delete"), t("Delete mask {n}", { n }), () => this.saved.deleteMask(one)),
    ];
  }

  showZoom() {
    const { view } = this.stage;
    if (!view) return;
    const text = `${Math.round(view.scale * 100)}%`;
    if (this.zoom.textContent !== text) this.zoom.textContent = text;
  }

  showPlace(xy) {
    const [height, width] = this.state.image.size_hw;
    const inside = xy && xy[0] >= 0 && xy[1] >= 0 && xy[0] < width && xy[1] < height;
    const [x, y] = inside ? xy.map(Math.floor) : [0, 0];
    this.place.textContent = inside ? `${x}, ${y}` : "";
    const values = inside && this.pixels.at(x, y);
    this.values.textContent = values ? `${this.pixels.isExact ? "" : "≈ "}${shownValues(values)}` : "";
  }
}

/** The key of an action, for labels. */
const hint = (action) => shownKey(keyFor(STUDIO_KEYS, action));
const withKey = (label, action) => `${label} (${hint(action)})`;

/** Change a live region only if its text is new: screen readers read each change aloud. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Show or hide a side panel, which narrow screens hide until it is asked for. */
export function togglePanel(panel, stage) {
  panel.classList.toggle(narrow.matches ? "open" : "closed");
  stage.resize();
}

/** A predicted IoU, which may overshoot a little. */
const shownIou = (iou) => Math.min(1, Math.max(0, iou)).toFixed(2);

/** How much of the image a mask covers. */
function shareOf(mask) {
  const share = (100 * areaOf(mask)) / (mask.height * mask.width);
  return share >= 1 ? `${share.toFixed(0)}%` : `${share.toFixed(1)}%`;
}
