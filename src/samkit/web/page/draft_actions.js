/** What an annotator does with the unfinished mask: prompts, strokes, undo, accept, cancel. */

import { ApiError } from "./api.js";
import { plural } from "./dom.js";
import { Draft } from "./draft.js";
import { announce, banner, notify } from "./notices.js";
import { areaOf } from "./rle.js";
import { PromptSocket } from "./socket.js";
import { showLostConnection } from "./studio_problems.js";
import { pixelOf } from "./tools/shared.js";

const DEFAULT_HINT_S = 30;

export class DraftActions {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./studio_paint.js").DraftPainter} parts.painter
   * @param {import("./studio_tools.js").StudioTools} parts.tools
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./outbox.js").Outbox} parts.outbox
   * @param {import("./clock.js").WorkClock} parts.clock
   * @param {number} [parts.hintAfterS] seconds on one mask before a hint is shown
   */
  constructor({ state, stage, painter, tools, masks, outbox, clock, hintAfterS = DEFAULT_HINT_S }) {
    this.state = state;
    this.stage = stage;
    this.painter = painter;
    this.tools = tools;
    this.masks = masks;
    this.outbox = outbox;
    this.clock = clock;
    this.hintAfterS = hintAfterS;
    this.hinted = null; // the draft for which the hint was shown
    this.acceptWhenAnswered = false;
    this.socket = null;
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
    const socket = new PromptSocket(state.imageId);
    this.socket = socket;
    this.hintTimer = setInterval(() => this.checkHint(), 1000);
    socket.addEventListener("ready", () => {
      state.encoded = true;
      state.update();
    });
    socket.addEventListener("masks", ({ detail: { id, answer } }) => this.takeAnswer(id, answer));
    socket.addEventListener("preview", ({ detail: { mask } }) => {
      if (state.atWork || !(state.crosshair ?? state.pointer)) return;
      this.painter.showPreview(mask, this.color);
      this.stage.redraw();
    });
    socket.addEventListener("fault", ({ detail }) => {
      notify(detail.detail, "bad");
      if (state.draft?.state.question?.id === detail.id) state.draft.undo();
      state.update();
    });
    socket.addEventListener("unreadable", ({ detail: { detail } }) => this.onUnreadable(detail));
    socket.addEventListener("lost", ({ detail: { code } }) => {
      state.encoded = false;
      state.lost = true;
      showLostConnection({ code, unsent: this.outbox.waiting.length, retry: () => socket.retryNow() });
      state.update();
    });
    socket.addEventListener("back", () => {
      state.lost = false;
      banner("connection", null);
      notify("Connected again.", "good");
      onBack();
      const question = state.draft?.questionAfresh();
      if (question) socket.ask(question);
    });
  }

  close() {
    clearInterval(this.hintTimer);
    this.socket?.close();
  }

  retryConnection() {
    this.socket?.retryNow();
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
    const which = candidates.length > 1 ? `${plural(candidates.length, "candidate")}, number ${chosen + 1} is shown. ` : "";
    announce(`${which}Mask of ${plural(areaOf(draft.mask), "pixel")}.`);
    this.state.update();
    if (this.acceptWhenAnswered) this.accept();
  }

  /** The draft to change, a new one if there is none; null if the image is not held. */
  forChange() {
    const { state } = this;
    if (!state.held) {
      notify("You do not hold this image, so you cannot change it.", "bad");
      return null;
    }
    this.painter.showPreview(null);
    this.socket?.dropPreview();
    this.acceptWhenAnswered = false;
    state.draft ??= new Draft(state.image.size_hw);
    return state.draft;
  }

  askModel() {
    const { draft } = this.state;
    if (draft.waits) this.socket?.ask(draft.state.question);
    this.state.update();
  }

  addPoint(pixel, label) {
    const draft = this.forChange();
    if (!draft) return;
    draft.addPoint(pixel, label, this.clock.lap());
    this.askModel();
  }

  setBox(box, inside) {
    const draft = this.forChange();
    if (!draft) return;
    draft.setBox(box, this.clock.lap(), inside ? 1 : 0);
    this.askModel();
  }

  stroke(points, erase) {
    if (erase && !this.state.draft) return;
    const draft = this.forChange();
    if (!draft) return;
    draft.stroke(points, this.state.radius, erase, this.clock.lap());
    this.state.update();
  }

  polygon(points, erase) {
    if (erase && !this.state.draft) return;
    const draft = this.forChange();
    if (!draft) return;
    draft.polygon(points, erase, this.clock.lap());
    this.state.update();
  }

  choose(candidate) {
    const { draft } = this.state;
    if (!draft?.choose(candidate, this.clock.lap())) return;
    announce(`Candidate ${candidate + 1} of ${draft.candidates.length}.`);
    this.state.update();
  }

  chooseNext() {
    const { draft } = this.state;
    this.choose(((draft?.chosen ?? 0) + 1) % (draft?.candidates.length || 1));
  }

  accept() {
    const { draft } = this.state;
    if (this.tools.polygon.close()) return;
    if (!draft) return;
    if (draft.waits) {
      this.acceptWhenAnswered = true;
      return;
    }
    this.acceptWhenAnswered = false;
    if (draft.saved) this.acceptCorrection(draft);
    else if (draft.isEmpty) notify("The mask is empty: click again, or press Esc.", "bad");
    else {
      const { classId } = this.state;
      const { number } = this.masks.add({ mask: draft.mask, classId, events: draft.events, score: draft.score });
      this.state.draft = null;
      announce(`Mask ${number} accepted.`);
    }
    this.clock.lap();
    banner("hint", null);
    this.state.update();
  }

  /** Save a corrected mask, if anything has changed. */
  acceptCorrection(draft) {
    const { item } = draft.saved;
    const { classId } = this.state;
    if (draft.isEmpty) {
      notify("Nothing is left of the mask: delete it, or undo.", "bad");
      return;
    }
    if (draft.changed && (draft.differs || item.classId !== classId)) {
      this.masks.replace(item, { mask: draft.mask, classId, events: draft.events, score: draft.score });
    }
    this.state.draft = null;
    announce(`Mask ${item.number} saved.`);
  }

  cancel() {
    const { state, tools } = this;
    if (state.pressed || tools.polygon.reset()) {
      tools.current.cancel();
      state.pressed = false;
    } else if (state.draft) {
      announce(state.draft.saved ? "Mask deselected." : "Mask cancelled.");
      state.draft = null;
      banner("hint", null);
    } else state.crosshair = null;
    this.acceptWhenAnswered = false;
    state.update();
  }

  /** Undo or redo: corners and prompts first, then saved masks. @param {"undo" | "redo"} kind */
  async stepHistory(kind) {
    const { state } = this;
    if (kind === "undo" && this.tools.polygon.undo()) return state.update();
    if (state.draft && (kind === "undo" ? state.draft.undo() : state.draft.redo())) {
      this.acceptWhenAnswered = false;
      if (state.draft.waits) this.socket?.ask(state.draft.questionAfresh());
      if (!state.draft.changed && !state.draft.saved && !state.draft.history.canRedo) state.draft = null;
      announce(kind === "undo" ? "Undone." : "Redone.");
      return state.update();
    }
    if (state.draft?.saved) state.draft = null;
    else if (state.draft && kind === "redo") return undefined;
    if (!state.held) return undefined;
    if (kind === "undo") state.draft = null; // at its beginning: on to the saved masks
    try {
      const item = await this.masks.stepHistory(kind);
      announce(item ? `${kind === "undo" ? "Undone" : "Redone"}: mask ${item.number}.` : `Nothing to ${kind}.`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify(`Saved masks cannot be changed now. ${error.message}`, "bad");
    }
    return state.update();
  }

  /** Preview what a click at a place would give; null for no preview. */
  preview(xy) {
    const { state } = this;
    const pixel = xy && pixelOf(xy, state.image.size_hw);
    const wanted = pixel && state.toolName === "point" && !state.atWork && state.held && !state.background;
    if (wanted) this.socket?.askPreview(pixel);
    else {
      this.socket?.dropPreview();
      this.painter.showPreview(null);
    }
  }

  checkHint() {
    const { draft } = this.state;
    const seconds = this.hintAfterS;
    if (!draft?.changed || this.hinted === draft) return;
    if (performance.now() - draft.startedAt < seconds * 1000) return;
    this.hinted = draft;
    banner("hint", `${seconds} seconds on this mask. Accept it as it is, or cancel it and move on: another mask is worth more.`, [
      { label: "Accept", act: () => this.accept(), primary: true },
      { label: "Cancel", act: () => this.cancel() },
    ], "info");
  }
}
