/**
 * The studio: one image, its saved masks, and the unfinished mask. This file puts its parts together:
 * a state, actions that change it, and panels and a stage that are redrawn from it. Pointers, keys and
 * buttons all lead to the same actions.
 */

import { ApiError } from "./api.js";
import { WorkClock } from "./clock.js";
import { el } from "./dom.js";
import { DraftActions } from "./draft_actions.js";
import { listenTo } from "./gestures.js";
import { ImageHold } from "./image_hold.js";
import { ImageMoves } from "./image_moves.js";
import { clearBanners, startNotices } from "./notices.js";
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

const STAGE_LABEL = "Image. Arrow keys move the crosshair, F clicks. Press ? for all keys.";

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
    this.moves = new ImageMoves(state);
    const { moves } = this;
    const act = (action) => this.keys.act({ action });
    const readAgain = () => this.readAgain();
    this.panels = new StudioPanels({ state, stage, masks, outbox, tools, hold, draft, saved, moves, act, readAgain, isOpen: settings.panel });
    this.keys = new StudioKeys({ state, stage, tools, hold, draft, saved, shapes, moves, panels: this.panels });
    this.element = this.panels.element;
    this.listen();
  }

  /** Open the image. @throws {ApiError} there is no such image */
  async open() {
    await this.hold.load();
    this.saved.restoreClass();
    this.moves.load();
    if (!this.outbox.isEmpty) await this.outbox.send();
    await this.hold.take();
    await this.masks.load();
    this.draft.connect(
      () => {
        this.outbox.send();
        this.hold.take({ renewing: true });
      },
      (detail) => this.hold.showUnreadable(detail),
    );
    this.hold.keepRenewing();
    this.hold.showReviewComment();
    await this.hold.picture;
    this.clock.lap();
    this.update();
  }

  /** Leave; what waits in the outbox stays there. */
  close() {
    this.closed = true;
    this.draft.close();
    this.stage.close();
    this.masks.close();
    this.clock.close();
    for (const [target, type, listener] of this.listeners) target.removeEventListener(type, listener);
    clearBanners();
    this.hold.close();
  }

  /** Try again to read an image that could not be read. */
  readAgain() {
    this.state.unreadable = null;
    this.hold.picture = this.hold.loadPicture();
    this.draft.socket?.tryAgain();
    this.state.update();
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
      if (!this.closed) this.redraw();
    });
  }

  redraw() {
    const { draft, selectedKey, toolName: tool, radius, fit, cleaning } = this.state;
    const { opacity, showMasks } = this.stage;
    const { radius: smoothing, always: cleanNew, ...limits } = cleaning;
    storeSettings({ tool, radius, opacity, showMasks, fit, ...limits, smoothing, cleanNew, byClass: this.masks.byClass, panel: this.panels.isOpen });
    this.painter.show(draft && this.shapes.shown(draft), this.draft.color);
    const shown = this.masks.stacked.filter(({ key, visible }) => visible && key !== selectedKey);
    this.stage.layers = shown.map((item) => this.masks.layerOf(item));
    this.stage.tint = draft?.changed ? 0.5 : 1;
    this.panels.update();
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
      imageWidth: state.image.size_hw[1],
    });
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
    });
    stage.paint = (context, view) => this.paint(context, view);
    stage.onView = () => this.panels.showZoom();
    this.listeners = [
      [document, "keydown", (event) => this.keys.onKey(event)],
      [document, "keyup", (event) => this.keys.onKeyUp(event)],
      [masks, "changed", () => this.update()],
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
    root.replaceChildren(startNotices(), el("main.message", {}, el("h1", {}, "This image cannot be opened"), el("p", {}, error.message), el("a.button", { href: "#/" }, "All projects")));
  }
  return studio;
}
