/** What an annotator does with the unfinished mask: prompts, strokes, undo, accept, cancel. */

import { ApiError } from "./api.js";

import { Draft } from "./draft.js";
import { sameValues } from "./labelling.js";
import { announce, banner, notify } from "./notices.js";
import { Prompter } from "./prompter.js";
import { areaOf } from "./rle.js";
import { snapped } from "./snapping.js";
import { showLostConnection } from "./studio_problems.js";
import { listed, t, tn } from "./texts.js";
import { pixelOf } from "./tools/shared.js";

const DEFAULT_HINT_S = 30;
const SNAP_PX = 8; // on the screen
const MOST_SNAP_PX = 40; // in the image

export class DraftActions {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./studio_paint.js").DraftPainter} parts.painter
   * @param {import("./studio_tools.js").StudioTools} parts.tools
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./clock.js").WorkClock} parts.clock
   * @param {(item: import("./saved_masks.js").SavedMask) => void} parts.select
   * @param {import("./shape_actions.js").ShapeActions} parts.shapes
   * @param {number} [parts.hintAfterS] seconds on one mask before a hint is shown
   */
  constructor({ state, stage, painter, tools, masks, clock, select, shapes, hintAfterS = DEFAULT_HINT_S }) {
    this.state = state;
    this.stage = stage;
    this.painter = painter;
    this.tools = tools;
    this.masks = masks;
    this.clock = clock;
    this.select = select;
    this.shapes = shapes;
    this.hintAfterS = hintAfterS;
    this.hinted = null; // the draft for which the hint was shown
    this.worked = { draft: null, seconds: 0 };
    /** @type {Draft | null} */
    this.cancelled = null; // the draft that Undo brings back
    this.acceptWhenAnswered = false;
    /** @type {Prompter | null} */
    this.prompter = null;
    this.hintTimer = 0;
  }

  /**
   * Connect to the model.
   * @param {() => void} onBack after a lost connection has come back
   * @param {(detail: string) => void} onUnreadable the image cannot be read, now or later
   */
  connect(onBack, onUnreadable) {
    this.onUnreadable = onUnreadable;
    const { state } = this;
    const prompter = new Prompter(state.image, this.stage);
    this.prompter = prompter;
    this.hintTimer = setInterval(() => this.checkHint(), 1000);
    prompter.addEventListener("ready", () => {
      state.encoded = true;
      state.update();
    });
    prompter.addEventListener("masks", ({ detail: { id, answer } }) => this.takeAnswer(id, answer));
    prompter.addEventListener("preview", ({ detail: { mask, box } }) => {
      if (state.atWork || !(state.crosshair ?? state.pointer)) return;
      this.painter.showPreview(mask, this.color, box);
      this.stage.redraw();
    });
    prompter.addEventListener("fault", ({ detail }) => {
      notify(detail.detail, "bad");
      if (state.draft?.state.question?.id === detail.id) state.draft.undo();
      state.update();
    });
    prompter.addEventListener("unreadable", ({ detail: { detail } }) => this.onUnreadable(detail));
    prompter.addEventListener("decoder", () => {
      state.encoded = prompter.isReady;
      state.update();
    });
    prompter.addEventListener("lost", ({ detail: { code } }) => {
      state.encoded = prompter.isReady;
      state.lost = true;
      showLostConnection({ code, retry: () => prompter.retryNow() });
      state.update();
    });
    prompter.addEventListener("back", () => {
      state.lost = false;
      banner("connection", null);
      notify(t("Connected again."), "good");
      onBack();
      const question = state.draft?.questionAfresh();
      if (question) prompter.ask(question);
    });
  }

  /** Ask what a draft that was brought back still waits for. */
  askAgain() {
    const { draft } = this.state;
    if (draft?.waits) this.prompter?.ask(draft.questionAfresh());
  }

  /** Drop the draft and unfinished corners, as if they had not been brought back. */
  throwAway() {
    this.tools.polygon.reset();
    this.cancelled = this.state.draft?.changed ? this.state.draft : null;
    this.state.draft = null;
    this.state.update();
  }

  close() {
    clearInterval(this.hintTimer);
    this.prompter?.close();
  }

  retryConnection() {
    this.prompter?.retryNow();
  }

  get color() {
    const { draft, classId } = this.state;
    const number = draft?.saved ? draft.saved.item.number : this.masks.all.length + 1;
    return this.masks.colorOf({ classId, number });
  }

  takeAnswer(id, answer) {
    const { draft } = this.state;
    draft?.take(id, answer);
    if (draft?.state.question?.id !== id) return;
    const { candidates, chosen } = draft;
    const which = candidates.length > 1 ? tn("{n} candidate, number {shown} is shown.", "{n} candidates, number {shown} is shown.", candidates.length, { shown: chosen + 1 }) : "";
    announce(`${which} ${tn("Mask of {n} pixel.", "Mask of {n} pixels.", areaOf(draft.mask))}`.trim());
    this.state.update();
    if (this.acceptWhenAnswered) this.accept();
  }

  /** The draft to change, a new one if there is none; null if the image is not held. */
  forChange() {
    const { state } = this;
    if (!state.held) {
      notify(t("You do not hold this image, so you cannot change it."), "bad");
      return null;
    }
    this.painter.showPreview(null);
    this.prompter?.dropPreview();
    this.acceptWhenAnswered = false;
    this.cancelled = null;
    this.tools.polygon.lost = [];
    state.draft ??= new Draft(state.image.size_hw);
    return state.draft;
  }

  /**
   * The draft to take something away from: that at work, else that of a saved mask at one of these
   * places, which is selected. Null, and a word about it, if there is none.
   * @param {number[][]} places
   */
  forTakingAway(places) {
    if (!this.state.draft) {
      const item = places.map((xy) => this.masks.at(xy)).find(Boolean);
      if (!item) {
        notify(t("There is no mask here to take this away from."));
        return null;
      }
      this.select(item); // its prompts, which come later, are not needed
    }
    return this.forChange();
  }

  askModel() {
    const { draft } = this.state;
    if (draft.waits) this.prompter?.ask(draft.state.question);
    this.state.update();
  }

  addPoint(pixel, label) {
    const draft = label ? this.forChange() : this.forTakingAway([pixel]);
    if (!draft) return;
    draft.addPoint(pixel, label, this.clock.lap());
    this.askModel();
  }

  setBox(box, inside) {
    const [x0, y0, x1, y1] = box;
    const draft = inside ? this.forChange() : this.forTakingAway([[(x0 + x1) / 2, (y0 + y1) / 2]]);
    if (!draft) return;
    draft.setBox(box, this.clock.lap(), inside ? 1 : 0);
    this.askModel();
  }

  movePoint(index, pixel) {
    const draft = this.forChange();
    draft?.movePoint(index, pixel, this.clock.lap());
    if (draft) this.askModel();
  }

  removePoint(index) {
    const draft = this.forChange();
    draft?.removePoint(index, this.clock.lap());
    if (draft) this.askModel();
  }

  removeBox() {
    const draft = this.forChange();
    draft?.removeBox(this.clock.lap());
    if (draft) this.askModel();
  }

  stroke(points, erase) {
    const draft = erase ? this.forTakingAway(points) : this.forChange();
    if (!draft) return;
    draft.stroke(points, this.state.radius, erase, this.clock.lap(), (shape) => this.snap(shape));
    this.state.update();
  }

  polygon(points, erase) {
    const middle = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
    const draft = erase ? this.forTakingAway([...points, middle]) : this.forChange();
    if (!draft) return;
    draft.polygon(points, erase, this.clock.lap(), (shape) => this.snap(shape));
    this.state.update();
  }

  toggleSnap() {
    const { state } = this;
    state.snap = !state.snap;
    notify(state.snap ? t("What is drawn snaps to the borders of other masks.") : t("What is drawn does not snap."));
    state.update();
  }

  /** What is drawn, joined to the borders of other masks near it if it shall be. */
  snap(shape) {
    const { state, stage, shapes } = this;
    if (!state.snap) return shape;
    const distance = Math.min(MOST_SNAP_PX, Math.max(2, Math.round(SNAP_PX / stage.view.scale)));
    const others = shapes.others(state.selected).map(({ mask }) => mask);
    return snapped(shape, others, distance, { cuts: state.fit !== "over" });
  }

  choose(candidate) {
    const { draft } = this.state;
    if (!draft?.choose(candidate, this.clock.lap())) return;
    announce(t("Candidate {n} of {total}.", { n: candidate + 1, total: draft.candidates.length }));
    this.state.update();
  }

  chooseNext() {
    const { draft } = this.state;
    this.choose(((draft?.chosen ?? 0) + 1) % (draft?.candidates.length || 1));
  }

  accept() {
    const { draft } = this.state;
    if (this.tools.drawn.close()) return;
    this.tools.line.reset();
    this.state.picking = null;
    if (!draft) return;
    if (draft.waits) {
      this.acceptWhenAnswered = true;
      return;
    }
    this.acceptWhenAnswered = false;
    if (draft.saved) this.acceptCorrection(draft);
    else if (draft.isEmpty) notify(t("The mask is empty: click again, or press Esc."), "bad");
    else {
      const made = this.shapes.finish(draft);
      if (areaOf(made.mask)) this.add(made);
      else notify(t("The other masks cover it completely: nothing is left of it."), "bad");
    }
    this.clock.lap();
    banner("hint", null);
    this.state.update();
  }

  /** Save a new mask. */
  add(made) {
    const { classId, attributes } = this.state;
    this.state.draft = null;
    this.masks.together(() => {
      const item = this.masks.add({ ...made, classId, attributes });
      this.shapes.putOver(item);
      announce(t("Mask {n} accepted.", { n: item.number }));
    });
  }

  /** Save a corrected mask, if anything has changed. */
  acceptCorrection(draft) {
    const { item } = draft.saved;
    const { classId, attributes } = this.state;
    if (draft.isEmpty) {
      notify(t("Nothing is left of the mask: delete it, or undo."), "bad");
      return;
    }
    if (draft.changed && (draft.differs || item.classId !== classId || !sameValues(item.attributes, attributes))) {
      const made = draft.differs ? this.shapes.finish(draft) : draft;
      if (!areaOf(made.mask)) {
        notify(t("The other masks cover it completely: nothing is left of it."), "bad");
        return;
      }
      this.masks.together(() => {
        this.masks.replace(item, { mask: made.mask, classId, attributes, events: made.events, score: made.score });
        if (draft.differs) this.shapes.putOver(item);
      });
    }
    this.state.draft = null;
    announce(t("Mask {n} saved.", { n: item.number }));
  }

  cancel() {
    const { state, tools } = this;
    if (state.picking) {
      tools.drawn.reset();
      state.picking = null;
    } else if (state.pressed || tools.polygon.reset()) {
      tools.current.cancel();
      state.pressed = false;
    } else if (state.draft) {
      announce(state.draft.saved ? t("Mask deselected.") : t("Mask cancelled. Ctrl+Z brings it back."));
      this.cancelled = state.draft.changed ? state.draft : null;
      state.draft = null;
      banner("hint", null);
    } else state.crosshair = null;
    this.acceptWhenAnswered = false;
    state.update();
  }

  /** Undo or redo: corners and prompts first, then saved masks. @param {"undo" | "redo"} kind */
  async stepHistory(kind) {
    const { state } = this;
    if (kind === "undo" && this.tools.drawn.undo()) {
      if (!state.picking) state.toolName = "polygon"; // corners that another tool had cancelled are back
      return state.update();
    }
    if (kind === "undo" && this.cancelled && !state.draft) return this.bringBack();
    if (state.draft && (kind === "undo" ? state.draft.undo() : state.draft.redo())) {
      this.acceptWhenAnswered = false;
      if (state.draft.waits) this.prompter?.ask(state.draft.questionAfresh());
      if (!state.draft.changed && !state.draft.saved && !state.draft.history.canRedo) state.draft = null;
      announce(kind === "undo" ? t("Undone.") : t("Redone."));
      return state.update();
    }
    if (state.draft?.saved) state.draft = null;
    else if (state.draft && kind === "redo") return undefined;
    if (!state.held) return undefined;
    if (kind === "undo") state.draft = null; // at its beginning: on to the saved masks
    try {
      const items = await this.masks.stepHistory(kind);
      const masks = items.filter(({ number }) => number);
      const what = masks.length ? t("mask {n}", { n: listed(masks.map(({ number }) => String(number))) }) : t("tags");
      if (items.length) announce(kind === "undo" ? t("Undone: {what}.", { what }) : t("Redone: {what}.", { what }));
      else announce(kind === "undo" ? t("Nothing to undo.") : t("Nothing to redo."));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify(t("Saved masks cannot be changed now: {why}", { why: error.message }), "bad");
    }
    return state.update();
  }

  /** Take up the draft that was cancelled last. */
  bringBack() {
    const { state } = this;
    state.draft = this.cancelled;
    this.cancelled = null;
    if (state.draft.waits) this.prompter?.ask(state.draft.questionAfresh());
    announce(t("The cancelled mask is back."));
    state.update();
  }

  /** Preview what a click at a place would give; null for no preview. */
  preview(xy) {
    const { state } = this;
    const pixel = xy && pixelOf(xy, state.image.size_hw);
    const wanted = pixel && state.toolName === "point" && !state.atWork && state.held && !state.background;
    if (wanted) this.prompter?.askPreview(pixel);
    else {
      this.prompter?.dropPreview();
      this.painter.showPreview(null);
    }
  }

  /** Called each second: time in which the page itself waits does not count. */
  checkHint() {
    const { draft, lost, encoded } = this.state;
    const seconds = this.hintAfterS;
    if (this.worked.draft !== draft) this.worked = { draft, seconds: 0 };
    if (!draft?.changed || draft.waits || lost || !encoded || document.hidden) return;
    this.worked.seconds += 1;
    if (this.hinted === draft || this.worked.seconds < seconds) return;
    this.hinted = draft;
    banner("hint", tn("{n} second on this mask. Accept it as it is, or cancel it and move on: another mask is worth more.", "{n} seconds on this mask. Accept it as it is, or cancel it and move on: another mask is worth more.", seconds), [
      { label: t("Accept"), act: () => this.accept(), primary: true },
      { label: t("Cancel"), act: () => this.cancel() },
    ], "info");
  }
}
