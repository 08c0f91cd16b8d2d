/**
 * The studio: one image, its saved masks, and the unfinished mask. This file puts its parts together:
 * a state, actions that change it, and panels and a stage that are redrawn from it. Pointers, keys and
 * buttons all lead to the same actions.
 */

import { ApiError } from "./api.js";
import { WorkClock } from "./clock.js";
import { el } from "./dom.js";
import { Comments } from "./comments.js";
import { DraftActions } from "./draft_actions.js";
import { DraftRecovery } from "./draft_recovery.js";
import { listenTo } from "./gestures.js";
import { ImageHold } from "./image_hold.js";
import { ImageMoves } from "./image_moves.js";
import { ImageTags } from "./image_tags.js";
import { AttributePanel } from "./attribute_panel.js";
import { Looks } from "./looks.js";
import { Minimap } from "./minimap.js";
import { PixelValues } from "./pixel_values.js";
import { ProposalActions } from "./proposal_actions.js";
import { drawRulers } from "./rulers.js";
import { clearBanners, notifyError, startNotices } from "./notices.js";
import { OutlineActions } from "./outline_actions.js";
import { SavedActions } from "./saved_actions.js";
import { SavedMasks } from "./saved_masks.js";
import { ShapeActions } from "./shape_actions.js";
import { Stage } from "./stage.js";
import { readSettings, storeSettings } from "./settings.js";
import { StudioKeys } from "./studio_keys.js";
import { DraftPainter, paintLit } from "./studio_paint.js";
import { StudioPanels } from "./studio_panels.js";
import { showRefusedChange } from "./studio_problems.js";
import { StudioState } from "./studio_state.js";
import { StudioTools } from "./studio_tools.js";
import { Strip } from "./strip.js";
import { t } from "./texts.js";

const STAGE_LABEL = t("Image. Arrow keys move the crosshair, F clicks. Press ? for all keys.");

export class Studio {
  /** @param {number} imageId @param {{outbox: import("./outbox.js").Outbox, status: object}} app */
  constructor(imageId, { outbox, status }) {
    this.outbox = outbox;
    const settings = readSettings();
    const state = new StudioState(imageId, settings, () => this.update());
    const masks = new SavedMasks(imageId, outbox, () => state.classes);
    const stage = new Stage({ label: STAGE_LABEL });
    masks.byClass = settings.byClass;
    stage.opacity = settings.opacity;
    stage.showMasks = settings.showMasks;
    const painter = new DraftPainter();
    const clock = new WorkClock();
    Object.assign(this, { state, masks, stage, painter, clock });
    this.tools = new StudioTools({ state, stage, painter }, {
      addPoint: (pixel, label) => this.draft.addPoint(pixel, label),
      setBox: (box, inside) => this.draft.setBox(box, inside),
      stroke: (points, erase) => this.draft.stroke(points, erase),
      polygon: (points, erase) => this.draft.polygon(points, erase),
      selectAt: (xy) => this.saved.selectAt(xy),
      line: (points) => this.shapes.divide(points),
      movePoint: (index, pixel) => this.draft.movePoint(index, pixel),
      removePoint: (index) => this.draft.removePoint(index),
      removeBox: () => this.draft.removeBox(),
      rings: () => this.outline.rings,
      reshape: (rings) => this.outline.reshape(rings),
      selectOther: (xy) => this.outline.selectOther(xy),
      changeDetail: (direction) => this.outline.changeDetail(direction),
    });
    const { tools } = this;
    const hintAfterS = status.hint_after_s;
    this.hold = new ImageHold({ state, stage, masks, outbox, clock });
    const select = (item) => this.saved.select(item);
    this.saved = new SavedActions({ state, stage, painter, masks, clock });
    this.shapes = new ShapeActions({ state, masks, clock, saved: this.saved });
    this.saved.onPick = (item) => this.shapes.combine(item);
    const { shapes } = this;
    this.draft = new DraftActions({ state, stage, painter, tools, masks, clock, select, shapes, hintAfterS });
    const { hold, draft, saved } = this;
    this.outline = new OutlineActions({ state, draft, saved, clock });
    this.recovery = new DraftRecovery({ state, tools, masks, draft });
    this.moves = new ImageMoves(state);
    this.proposals = new ProposalActions({ state, stage, masks, clock, hasWords: status.words, select: (item) => saved.selectListed(item), stepHistory: (kind) => draft.stepHistory(kind) });
    const { proposals } = this;
    const { moves } = this;
    this.tags = new ImageTags(imageId, outbox, masks);
    this.attributes = new AttributePanel({ state, masks, tags: this.tags, clock, leave: () => stage.element.focus() });
    const { attributes } = this;
    this.minimap = new Minimap(stage);
    this.pixels = new PixelValues(imageId, () => this.panels.showPlace(this.keys.place));
    const onFacts = () => {
      this.pixels.isOn = true;
    };
    this.looks = new Looks({ state, stage, minimap: this.minimap, settings, onFacts });
    const { looks, minimap, pixels } = this;
    const act = (action) => this.keys.act({ action });
    const readAgain = () => this.readAgain();
    this.panels = new StudioPanels({ state, stage, masks, outbox, tools, hold, draft, saved, moves, attributes, looks, minimap, pixels, proposals, act, readAgain, isOpen: settings.panel });
    const comment = () => this.comment();
    this.keys = new StudioKeys({ state, stage, tools, hold, draft, saved, shapes, moves, attributes, looks, proposals, panels: this.panels, comment });
    this.element = this.panels.element;
    this.strip = new Strip(state, moves);
    this.element.append(this.strip.element);
    this.listen();
    this.comments = new Comments(stage, () => masks);
    this.panels.addComments(this.comments);
  }

  /** Open the image. @throws {ApiError} there is no such image */
  async open() {
    await this.hold.load();
    this.saved.restoreClass();
    const { levels } = this.stage;
    this.pixels.isOn = !levels.isTiled;
    if (levels.isTiled) {
      this.hold.picture.then(() => {
        this.pixels.isOn ||= levels.hasValues;
        if (levels.overview) this.looks.start();
      });
    } else this.looks.start();
    this.moves.load();
    if (!this.outbox.isEmpty) await this.outbox.send();
    await this.hold.take();
    await Promise.all([this.state.held || this.masks.load(), this.tags.load()]);
    this.comments.open(this.state.imageId).catch(notifyError);
    await this.recovery.restore();
    this.draft.connect(
      () => {
        this.outbox.send();
        this.hold.take({ renewing: true });
      },
      (detail) => this.hold.showUnreadable(detail),
    );
    this.draft.askAgain();
    this.hold.keepRenewing();
    this.hold.showReviewComment();
    await this.hold.picture;
    this.clock.lap();
    this.update();
  }

  /** Leave; what waits in the outbox stays there. */
  close({ isShown = true } = {}) {
    this.closed = true;
    this.recovery.close();
    this.draft.close();
    this.stage.close();
    this.strip.close();
    this.masks.close();
    this.tags.close();
    this.looks.close();
    this.proposals.close();
    this.pixels.close();
    this.clock.close();
    for (const [target, type, listener] of this.listeners) target.removeEventListener(type, listener);
    if (isShown) clearBanners(); // else they are another page's
    this.hold.close();
  }

  /** Try again to read an image that could not be read. */
  readAgain() {
    this.state.unreadable = null;
    this.hold.picture = this.hold.loadPicture();
    this.draft.prompter?.tryAgain();
    this.state.update();
  }

  /** Comment on the selected mask, the place of the pointer or crosshair, or the image. */
  comment() {
    const { selected } = this.state;
    const place = selected ? null : this.keys.place;
    this.comments.ask(selected, place && place.map((value) => Math.round(value * 10) / 10));
  }

  /** Somebody has signed in again. */
  connectAgain() {
    this.draft.retryConnection();
    this.hold.take({ renewing: true });
  }

  /** Whether leaving would lose work. */
  get busy() {
    return this.state.busy;
  }

  /** Redraw panels and stage from the state, once for all changes that are made together. */
  update() {
    if (this.isStale) return;
    this.isStale = true;
    queueMicrotask(() => {
      this.isStale = false;
      if (this.closed) return;
      this.recovery.keep();
      this.redraw();
    });
  }

  redraw() {
    const { draft, selectedKey, toolName: tool, radius, fit, snap, strip, cleaning } = this.state;
    const { opacity, showMasks } = this.stage;
    const { radius: smoothing, always: cleanNew, ...limits } = cleaning;
    storeSettings({ tool, radius, opacity, showMasks, fit, snap, strip, ...limits, smoothing, cleanNew, byClass: this.masks.byClass, panel: this.panels.isOpen, ...this.looks.settings });
    this.painter.show(draft && this.shapes.shown(draft), this.draft.color);
    const shown = this.masks.stacked.filter(({ key, visible }) => visible && key !== selectedKey);
    this.stage.layers = shown.map((item) => this.masks.layerOf(item));
    this.stage.tint = draft?.changed ? 0.5 : 1;
    this.panels.update();
    this.strip.show(strip);
    this.strip.refresh();
    this.stage.redraw();
  }

  hover(press) {
    const { state } = this;
    state.pointer = press?.xy ?? null;
    if (press) state.crosshair = null;
    this.panels.showPlace(state.pointer);
    this.draft.preview(state.pointer);
  }

  paint(context, view) {
    const { state, stage } = this;
    if (state.lit && !state.lit.deleted) paintLit(context, view, this.masks.layerOf(state.lit));
    this.painter.paint(context, {
      view,
      opacity: stage.opacity,
      ratio: stage.ratio,
      color: this.draft.color,
      draft: state.atWork ? state.draft : null,
      tool: this.tools.current,
      pointer: state.pointer,
      crosshair: state.crosshair,
    });
    this.proposals.paint(context, view);
    if (this.looks.rulers) drawRulers(context, view, this.keys.place);
  }

  listen() {
    const { state, stage, masks, outbox } = this;
    listenTo(stage, {
      tool: () => this.tools.current,
      pick: (xy) => this.saved.selectAt(xy),
      hover: (press) => this.hover(press),
      spaceHeld: () => state.space.held,
      spaceUsed: () => {
        state.space.used = true;
      },
      resize: (factor) => {
        if (!["brush", "eraser"].includes(state.toolName)) return false;
        this.tools.setRadius(state.radius * factor);
        return true;
      },
    });
    stage.paint = (context, view) => this.paint(context, view);
    stage.onView = () => {
      this.panels.showZoom();
      this.minimap.draw();
    };
    stage.onPicture = () => this.minimap.draw();
    this.listeners = [
      [document, "keydown", (event) => this.keys.onKey(event)],
      [document, "keyup", (event) => this.keys.onKeyUp(event)],
      [masks, "changed", () => this.update()],
      [masks, "changed", () => this.comments.draw()],
      [outbox, "changed", () => this.update()],
      [outbox, "refused", ({ detail }) => showRefusedChange({ state, masks, outbox }, detail)],
      [window, "beforeunload", (event) => (this.busy || !outbox.isEmpty) && event.preventDefault()],
    ];
    for (const [target, type, listener] of this.listeners) target.addEventListener(type, listener);
  }
}

/** The studio as a page of the router. */
export async function openStudio(root, { id }, app) {
  const studio = new Studio(Number(id), app);
  root.replaceChildren(studio.element);
  try {
    await studio.open();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    root.replaceChildren(startNotices(), el("main.message", {}, el("h1", {}, t("This image cannot be opened")), el("p", {}, error.message), el("a.button", { href: "#/" }, t("All projects"))));
  }
  return studio;
}
