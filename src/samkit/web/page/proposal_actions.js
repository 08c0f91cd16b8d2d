/**
 * Proposals on the open image: masks that were there before anybody opened it, and those that the model
 * finds, streamed in: of everything, of what looks like a saved mask, or of what words name. They are
 * accepted, corrected or rejected one by one, by keys, or accepted all at once.
 *
 * @typedef {{mask: import("./rle.js").Mask, score: number | null, similarity: number | null, decided: boolean,
 *   events: object[], layer: MaskLayer, item: import("./saved_masks.js").SavedMask | null}} Proposal
 *   item: a saved mask that nobody has looked at
 * @typedef {{example?: import("./saved_masks.js").SavedMask, words?: string}} Wanted  neither: everything
 */

import { ApiError, lines, query } from "./api.js";
import { el, openDialog } from "./dom.js";
import { MaskLayer } from "./layers.js";
import { announce, notify, notifyError } from "./notices.js";
import { areaOf, boxOf, cut, decodeRle } from "./rle.js";
import { seenPart } from "./seen_part.js";
import { overlap } from "./shapes.js";
import { t, tn } from "./texts.js";
import { showBox } from "./view.js";

const COLOR = "#f5a524";
const KNOWN_IOU = 0.7; // with a saved mask, from which a proposal is of the same object
export const USUAL_LEAST = 0.2; // similarity times score: of the range that occurs, the best balance on three data sets

export class ProposalActions {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./clock.js").WorkClock} parts.clock
   * @param {boolean} parts.hasWords whether the server has a text model
   * @param {(item: object) => void} parts.select selects a saved mask
   * @param {(kind: "undo") => Promise<void>} parts.stepHistory undoes the last step of saved masks
   */
  constructor({ state, stage, masks, clock, hasWords, select, stepHistory }) {
    Object.assign(this, { state, stage, masks, clock, hasWords, select, stepHistory });
    /** @type {Proposal[] | null} all that were found; null if nobody has asked for them */
    this.found = null;
    /** @type {Wanted} */
    this.wanted = {};
    this.least = USUAL_LEAST; // similarity of those that are shown
    this.at = 0;
    this.isComplete = true;
    this.past = []; // decisions, for undo: { decided: Proposal[], saved }
    this.stream = null;
  }

  /** Those that wait for a decision, the most alike first; null if nobody has asked for any. */
  get waiting() {
    return this.found && this.found.filter(({ decided, similarity }) => !decided && (similarity ?? 1) >= this.least);
  }

  /** Whether keys decide about a proposal now. */
  get isOn() {
    return this.found !== null && !this.state.atWork;
  }

  get current() {
    return this.waiting?.[this.at] ?? null;
  }

  close() {
    this.stream?.abort();
    this.found = null;
  }

  /** Begin with everything, or end. */
  toggle() {
    return this.found ? this.stop() : this.start({});
  }

  /** What looks like the selected mask. */
  startAlike() {
    const { selected: example } = this.state;
    if (!example) return notify(t("Select the mask that the others shall be like first."), "bad");
    if (example.id === null || example.saving) return notify(t("The mask is not saved yet: try again in a moment."), "bad");
    return this.start({ example });
  }

  /** Ask for words, and begin with what they name. */
  askForWords() {
    if (!this.hasWords) return notify(t("This server has no text model: start it with --text-model."), "bad");
    const input = el("input", { required: true, maxlength: "200", autocomplete: "off", autofocus: true, "aria-label": t("What to look for"), placeholder: t("red car") });
    const form = el("form", {}, input, el("footer", {}, el("button.primary", { type: "submit" }, t("Find"))));
    const dialog = openDialog(t("Find by words"), form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close();
      this.start({ words: input.value.trim() }).catch(notifyError);
    });
    return undefined;
  }

  /** @param {Wanted} wanted */
  async start(wanted) {
    const { state, masks } = this;
    if (!state.held) return notify(t("You do not hold this image, so you cannot change it."), "bad");
    if (state.busy) return notify(t("Accept or cancel the current mask first."), "bad");
    this.close();
    state.draft = null;
    const stream = new AbortController();
    const isPlain = !wanted.example && !wanted.words;
    const untouched = isPlain ? masks.present.filter(({ stage, version }) => stage === "fully-automatic" && version === 1) : [];
    this.found = untouched.map((item) => this.proposal({ mask: item.mask, item }));
    Object.assign(this, { wanted, at: 0, past: [], isComplete: false, stream, least: wanted.example ? USUAL_LEAST : 0 });
    this.look();
    state.update();
    // Of an image by tiles: what is in view now.
    const view = this.stage.levels?.isTiled ? seenPart(this.stage.view, { points: [] }, null) : null;
    try {
      await lines(`images/${state.imageId}/proposals?${query({ example: wanted.example?.id ?? null, words: wanted.words ?? null, view })}`, (line) => this.take(line, view), stream.signal);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.stream === stream) notify(error.message, "bad");
    }
    if (this.stream !== stream) return undefined;
    this.isComplete = true;
    this.endIfDone();
    return state.update();
  }

  /** @returns {Proposal} */
  proposal({ mask, score = null, similarity = null, events = [], item = null }) {
    return { mask, score, similarity, events, item, decided: false, layer: new MaskLayer(mask, COLOR) };
  }

  take(line, view) {
    const { found, wanted } = this;
    if (!found || line.done) return;
    if (line.error) {
      notify(line.error, "bad");
      return;
    }
    const mask = decodeRle(line.rle);
    if (this.masks.present.some((one) => isSame(one.mask, mask))) return;
    const data = wanted.example ? { of: "alike", example: wanted.example.id } : wanted.words ? { of: "words", words: wanted.words } : { of: "everything" };
    const events = [{ kind: "choose", data: view ? { ...data, view } : data, model_version_id: line.model_version_id }];
    const { current } = this;
    found.push(this.proposal({ mask, score: line.score, similarity: line.similarity, events }));
    if (wanted.example) {
      found.sort((one, other) => other.similarity - one.similarity);
      if (this.past.length) this.at = Math.max(0, this.waiting.indexOf(current));
    }
    if (this.waiting.length === 1) this.look();
    this.state.update();
  }

  /** Show those that are at least this much alike. */
  setLeast(least) {
    const { current } = this;
    this.least = least;
    this.at = Math.max(0, this.waiting.indexOf(current));
    this.stage.redraw();
    this.state.update();
  }

  stop() {
    const left = this.waiting?.length ?? 0;
    this.close();
    announce(left ? tn("{n} proposal left.", "{n} proposals left.", left) : t("No proposals left."));
    this.state.update();
  }

  accept() {
    const { current } = this;
    if (!current) return null;
    const { item, isNew } = this.keep(current);
    this.decide([current], isNew, t("Accepted."));
    return item;
  }

  /** Accept all that are shown, as one step. */
  acceptAll() {
    const all = this.waiting;
    if (!all?.length) return;
    let isNew = false;
    this.masks.together(() => {
      for (const one of all) isNew = this.keep(one).isNew || isNew;
    });
    this.decide(all, isNew, tn("{n} mask accepted.", "{n} masks accepted.", all.length));
  }

  /** Make a proposal a saved mask, unless it is one. */
  keep({ mask, score, events, item }) {
    if (item) return { item, isNew: false };
    const [event] = events;
    return { item: this.masks.add({ mask, classId: this.classId, events: [{ ...event, duration_ms: this.clock.lap() }], score }), isNew: true };
  }

  /** The class of what is accepted: the example's, or that of the words' name, else the next mask's. */
  get classId() {
    const { example, words } = this.wanted;
    if (example) return example.classId;
    const named = words && [...this.state.classes.values()].find(({ name }) => name.toLowerCase() === words.toLowerCase());
    return named ? named.id : this.state.nextClassId;
  }

  reject() {
    const { current } = this;
    if (!current) return;
    if (current.item) this.masks.remove(current.item);
    this.decide([current], current.item !== null, t("Rejected."));
  }

  /** Accept it, and go on with it as with every saved mask; the others wait. */
  correct() {
    const item = this.accept();
    if (item) this.select(item);
  }

  /** @param {Proposal[]} decided @param {boolean} saved whether a step of saved masks was made */
  decide(decided, saved, word) {
    this.past.push({ decided, saved });
    for (const one of decided) one.decided = true;
    const left = this.waiting.length;
    this.at = Math.min(this.at, Math.max(0, left - 1));
    announce(`${word} ${tn("{n} proposal left.", "{n} proposals left.", left)}`);
    this.look();
    this.endIfDone();
    this.state.update();
  }

  endIfDone() {
    if (!this.found || !this.isComplete || this.found.some(({ decided }) => !decided)) return;
    this.found = null;
    notify(t("No proposals left."), "good");
  }

  /** Take back the last decision. */
  async undo() {
    const last = this.past.pop();
    if (!last) return undefined;
    for (const one of last.decided) one.decided = false;
    this.at = Math.max(0, this.waiting.indexOf(last.decided[0]));
    this.look();
    this.state.update();
    return last.saved ? this.stepHistory("undo") : undefined;
  }

  /** Go on without a decision. @param {1 | -1} step */
  skip(step) {
    const count = this.waiting?.length ?? 0;
    if (count) this.at = (this.at + step + count) % count;
    this.look();
    this.state.update();
  }

  /** Bring the current one into sight. */
  look() {
    const { stage, current } = this;
    const box = current && boxOf(current.mask);
    if (box && stage.view) {
      const view = showBox(stage.view, box);
      if (view !== stage.view) stage.look(view);
    }
    stage.redraw();
  }

  paint(context, view) {
    if (!this.found) return;
    const { current, waiting } = this;
    for (const one of waiting) {
      if (one === current) continue;
      one.layer.build();
      one.layer.drawOutline(context, view, { width: 1, dash: [3, 3] });
    }
    if (!current || this.state.atWork) return;
    current.layer.build();
    current.layer.drawTint(context, view, 0.5);
    current.layer.drawOutline(context, view, { width: 2.5, color: "#fff" });
  }
}

function isSame(one, other) {
  if (!overlap(one, other)) return false;
  const inner = areaOf(one) - areaOf(cut(one, other));
  return inner / (areaOf(one) + areaOf(other) - inner) > KNOWN_IOU;
}
