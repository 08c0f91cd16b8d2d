/**
 * The unfinished mask: its prompts, the model's answers, and brush strokes, with undo and redo
 * through all of it. A draft rests either on prompts or on a mask. On prompts: clicks and a box are
 * one question to the model, whose answer is the mask, and strokes stay on top of whatever it answers
 * next. On a mask (a polygon, strokes, an imported mask), which no prompt can reproduce: each click
 * asks for a mask of its own, which is joined to it or cut from it.
 *
 * @typedef {import("./rle.js").Mask} Mask
 * @typedef {{kind: string, data: object, duration_ms: number, model_version_id?: number}} Event
 * @typedef {{masks: {mask: Mask, iou: number}[], best: number, modelVersionId: number, view?: number[] | null}} Answer
 * @typedef {{id: number, points: number[][], labels: number[], box: number[] | null,
 *   multimask: boolean, continueFrom: {id: number, candidate: number} | null}} Question
 * @typedef {{points: number[][], labels: number[], box: number[] | null, question: Question | null,
 *   chosen: number | null, added: Mask | null, removed: Mask | null, ground: Mask | null,
 *   joins: 0 | 1 | null, outline: number[][][] | null, events: (Event & {questionId?: number})[]}} State
 */

import { History } from "./history.js";
import { areaOf, cut, emptyMask, sameMask, unite } from "./rle.js";
import { polygonMask, strokeMask } from "./raster.js";

const EMPTY = Object.freeze({
  points: [],
  labels: [],
  box: null,
  question: null, // of the answer that the mask rests on
  chosen: null, // candidate, null for the model's best
  added: null, // by strokes over the answer
  removed: null,
  ground: null, // the mask that the draft rests on, where it does not rest on prompts
  joins: null, // what the answer does to the ground: 1 is joined, 0 is cut
  outline: null, // corners of its rings, where somebody drew or moved them
  events: [],
});

const MAX_RECORDED = 30; // steps that a record has

let lastQuestion = 0;

export class Draft {
  /**
   * @param {[number, number]} size height and width of the image
   * @param {object} [saved] a saved mask to correct
   * @param {Mask} saved.mask
   * @param {import("./saved_masks.js").SavedMask} saved.item
   * @param {number | null} saved.classId that it shall have, which may differ from the item's
   * @param {import("./labelling.js").Values} saved.attributes likewise
   * @param {Event[]} saved.events that led to it
   */
  constructor([height, width], saved = null) {
    this.height = height;
    this.width = width;
    this.saved = saved;
    /** @type {import("./labelling.js").Values} */
    this.attributes = saved?.attributes ?? {};
    /** @type {Map<number, Answer>} */
    this.answers = new Map();
    this.masks = new WeakMap(); // by state, which never changes
    this.history = new History(saved ? { ...EMPTY, ground: saved.mask, outline: outlineOf(saved.events), ...replay(this, saved) } : EMPTY);
  }

  /**
   * A draft that goes on from a record.
   * @param {ReturnType<Draft["record"]>} record
   * @param {[number, number]} size
   * @param {ConstructorParameters<typeof Draft>[1]} saved
   */
  static from({ past, current, answers }, size, saved = null) {
    const draft = new Draft(size, saved && { ...saved, events: [] });
    Object.assign(draft.history, { past, current });
    draft.answers = answers;
    const ids = [...past, current].map(({ question }) => question?.id ?? 0);
    lastQuestion = Math.max(lastQuestion, ...ids);
    return draft;
  }

  /** The states up to now as plain data, which IndexedDB takes. */
  record() {
    const { past, current } = this.history;
    const states = past.slice(-MAX_RECORDED);
    const ids = new Set([...states, current].map(({ question }) => question?.id));
    return { past: states, current, answers: new Map([...this.answers].filter(([id]) => ids.has(id))) };
  }

  /** @returns {State} */
  get state() {
    return this.history.current;
  }

  /** Whether there is something to accept. */
  get changed() {
    return this.history.canUndo;
  }

  get restsOnPrompts() {
    const { points, box, ground } = this.state;
    return ground === null ? true : this.saved !== null && (points.length > 0 || box !== null);
  }

  get answer() {
    const { question } = this.state;
    return question ? (this.answers.get(question.id) ?? null) : null;
  }

  /** Whether the model has yet to answer. */
  get waits() {
    return this.state.question !== null && this.answer === null;
  }

  get candidates() {
    return this.answer?.masks ?? [];
  }

  get chosen() {
    return this.answer ? (this.state.chosen ?? this.answer.best) : null;
  }

  /** The model's predicted IoU, which may overshoot a little; null if the mask was changed by hand. */
  get score() {
    const { added, removed, joins } = this.state;
    const plain = this.answer && !added && !removed && joins === null;
    return plain ? Math.min(1, Math.max(0, this.candidates[this.chosen].iou)) : null;
  }

  /** The current mask; while the model works, the previous one. Null if there is none yet. */
  get mask() {
    const states = [this.state, ...[...this.history.past].reverse()];
    for (const state of states) {
      const mask = this.maskOf(state);
      if (mask !== undefined) return mask;
    }
    return null;
  }

  /** The mask of a state, computed once; undefined while its answer is missing. */
  maskOf(state) {
    if (!this.masks.has(state)) {
      const mask = this.computeMask(state);
      if (mask === undefined) return undefined;
      this.masks.set(state, mask);
    }
    return this.masks.get(state);
  }

  computeMask(state) {
    const { question, ground, added, removed, joins } = state;
    let mask = ground;
    if (question) {
      const answer = this.answers.get(question.id);
      if (!answer) return undefined;
      const own = answer.masks[state.chosen ?? answer.best].mask;
      if (joins === null) mask = own;
      else mask = joins ? unite(ground ?? this.nothing(), own) : cut(ground ?? this.nothing(), own);
    }
    if (added) mask = unite(mask ?? this.nothing(), added);
    if (removed && mask) mask = cut(mask, removed);
    return mask;
  }

  /**
   * The events that led to the mask. Those that asked the model, or chose among its candidates, name
   * the model version that answered, and of an image by tiles the part that it saw.
   * @returns {Event[]}
   */
  get events() {
    // A question that was replaced before its answer came is part of the next one.
    let answer = null;
    const events = [];
    for (const { questionId, ...event } of [...this.state.events].reverse()) {
      const next = events.at(-1); // each change of the outline has all corners: the last one says enough
      if (isOutline(event) && isOutline(next)) {
        next.duration_ms += event.duration_ms;
        continue;
      }
      if (questionId === undefined) {
        events.push(event);
        continue;
      }
      answer = this.answers.get(questionId) ?? answer;
      events.push(answer === null ? event : answered(event, answer));
    }
    return events.reverse();
  }

  get isEmpty() {
    return !this.mask || areaOf(this.mask) === 0;
  }

  addPoint(xy, label, duration) {
    const event = { kind: "point", data: { xy, label }, duration_ms: duration };
    const { state } = this;
    if (this.restsOnPrompts) {
      const points = [...state.points, xy];
      this.ask({ points, labels: [...state.labels, label], box: state.box }, event);
    } else {
      this.askPart({ points: [xy], labels: [1], box: null }, label, event);
    }
  }

  setBox(xyxy, duration, label = 1) {
    const event = { kind: "box", data: { xyxy, label }, duration_ms: duration };
    const { state } = this;
    if (this.restsOnPrompts && label === 1) {
      this.ask({ points: state.points, labels: state.labels, box: xyxy }, event, { afresh: state.box !== null });
    } else {
      this.askPart({ points: [], labels: [], box: xyxy }, label, event);
    }
  }

  /** Move a click. */
  movePoint(index, xy, duration) {
    const { points, labels, box } = this.state;
    const event = { kind: "move", data: { index, xy }, duration_ms: duration };
    this.ask({ points: points.map((point, i) => (i === index ? xy : point)), labels, box }, event, { afresh: true });
  }

  /** Remove a click. */
  removePoint(index, duration) {
    const { points, labels, box } = this.state;
    const others = (list) => list.filter((_, i) => i !== index);
    const event = { kind: "remove", data: { index }, duration_ms: duration };
    this.askWhatIsLeft({ points: others(points), labels: others(labels), box }, event);
  }

  removeBox(duration) {
    const { points, labels } = this.state;
    this.askWhatIsLeft({ points, labels, box: null }, { kind: "remove", data: { box: true }, duration_ms: duration });
  }

  askWhatIsLeft(prompts, event) {
    if (prompts.box || prompts.labels.includes(1)) this.ask(prompts, event, { afresh: true });
    else this.push({ ...prompts, question: null, chosen: null, ground: null, event });
  }

  /** Ask one question with all prompts; the previous answer is the model's prior, unless it is for a prompt that is gone. */
  ask({ points, labels, box }, event, { afresh = false } = {}) {
    const before = this.state;
    const single = points.length === 1 && !box;
    const prior = this.answer && before.joins === null && !single && !afresh;
    const continueFrom = prior ? { id: before.question.id, candidate: this.chosen } : null;
    const question = { id: ++lastQuestion, points, labels, box, multimask: single, continueFrom };
    this.push({ points, labels, box, question, chosen: null, event: { ...event, questionId: question.id } });
  }

  /** Ask a separate question, whose answer is joined to the mask or cut from it. */
  askPart({ points, labels, box }, joins, event) {
    const multimask = !box;
    const question = { id: ++lastQuestion, points, labels, box, multimask, continueFrom: null };
    this.push({ ...this.grounded(), question, chosen: null, joins, event: { ...event, questionId: question.id } });
  }

  choose(candidate, duration) {
    if (!this.candidates[candidate] || candidate === this.chosen) return false;
    const questionId = this.state.question.id;
    const event = { kind: "choose", data: { candidate }, duration_ms: duration, questionId };
    this.push({ chosen: candidate, event });
    return true;
  }

  /** @param {(shape: Mask) => Mask} [snap] fits what is added to its neighbours */
  stroke(points, radius, erase, duration, snap) {
    const round = points.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
    const data = { points: round, radius_px: Math.round(radius * 10) / 10 };
    const event = { kind: erase ? "erase" : "brush", data, duration_ms: duration };
    this.edit(strokeMask(this.height, this.width, round, data.radius_px), erase, event, { snap });
  }

  /** @param {(shape: Mask) => Mask} [snap] */
  polygon(points, erase, duration, snap) {
    const round = points.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
    const data = erase ? { points: round, erase } : { points: round };
    const event = { kind: "polygon", data, duration_ms: duration };
    const isFirst = this.mask === null;
    this.edit(polygonMask(this.height, this.width, round), erase, event, { snap, outline: isFirst ? [round] : null });
  }

  /** Make the mask what its outline was changed to. @param {number[][][]} rings */
  reshape(mask, rings, duration) {
    const event = { kind: "shape", data: { action: "outline", rings }, duration_ms: duration };
    const { state } = this;
    if (this.restsOnPrompts && (state.question || state.ground)) {
      const [added, removed] = [cut(mask, this.mask), cut(this.mask, mask)];
      const both = overlaid(overlaid(state, added, false), removed, true);
      this.push({ ...both, outline: rings, event });
    } else this.push({ ...EMPTY, ground: mask, outline: rings, event });
  }

  edit(drawn, erase, event, { snap = null, outline = null }) {
    const { state } = this;
    const shape = snap && !erase ? snap(drawn) : drawn;
    const also = shape === drawn ? null : { kind: "shape", data: { action: "snap" }, duration_ms: 0 };
    if (this.restsOnPrompts && (state.question || state.ground)) {
      this.push({ ...overlaid(state, shape, erase), event, also });
    } else {
      const { ground } = this.grounded();
      const mask = erase ? cut(ground ?? this.nothing(), shape) : unite(ground ?? this.nothing(), shape);
      this.push({ ...EMPTY, ground: mask, outline, event, also });
    }
  }

  undo() {
    return this.history.undo();
  }

  redo() {
    return this.history.redo();
  }

  /** @param {number} id of the question @param {Answer} answer */
  take(id, answer) {
    this.answers.set(id, answer);
  }

  /** The open question without a prior: a new connection has no earlier answers. */
  questionAfresh() {
    return this.waits ? { ...this.state.question, continueFrom: null } : null;
  }

  /** Whether the mask differs from the saved one. */
  get differs() {
    return !this.saved || !this.mask || !sameMask(this.saved.mask, this.mask);
  }

  grounded() {
    return { ...EMPTY, ground: this.mask };
  }

  nothing() {
    return emptyMask(this.height, this.width);
  }

  push({ event, also = null, ...changes }) {
    const events = [...this.state.events, event, also].filter(Boolean);
    this.history.push({ ...this.state, outline: null, ...changes, events });
  }
}

/** Strokes over an answer, folded into what they add and remove in total. */
function overlaid({ added, removed }, shape, erase) {
  if (erase) return { added: added && cut(added, shape), removed: removed ? unite(removed, shape) : shape };
  return { added: added ? unite(added, shape) : shape, removed: removed && cut(removed, shape) };
}

const isOutline = (event) => event?.kind === "shape" && event.data.action === "outline";

/** An event with the model version that answered, and the part of a large image that it saw. */
function answered({ data, ...event }, { modelVersionId, view }) {
  return { ...event, data: view ? { ...data, view } : data, model_version_id: modelVersionId };
}

/** Corners that a saved mask was last given; null if something else has changed it since. */
function outlineOf(events) {
  const last = events.filter(({ kind }) => kind !== "class").at(-1);
  if (isOutline(last)) return last.data.rings;
  return last?.kind === "polygon" && last === events[0] && !last.data.erase ? [last.data.points] : null;
}

/** Prompts and strokes that a saved mask rests on; nothing if it rests on a mask. */
function replay({ height, width }, { events }) {
  let state = { points: [], labels: [], box: null, added: null, removed: null };
  for (const { kind, data } of events) {
    const prompted = state.points.length > 0 || state.box !== null;
    if (kind === "point") {
      state = { ...state, points: [...state.points, data.xy], labels: [...state.labels, data.label] };
    } else if (kind === "box" && data.label === 0) {
      return {}; // what the model cut out is known no more: from here on it rests on a mask
    } else if (kind === "box") {
      state = { ...state, box: data.xyxy };
    } else if (kind === "move") {
      state = { ...state, points: state.points.map((point, i) => (i === data.index ? data.xy : point)) };
    } else if (kind === "remove") {
      const others = (list) => list.filter((_, i) => i !== data.index);
      state = { ...state, points: others(state.points), labels: others(state.labels), box: data.box ? null : state.box };
    } else if (["import", "review", "shape"].includes(kind) || (!prompted && kind !== "class" && kind !== "choose")) {
      return {}; // it began as a mask
    } else if (kind === "brush" || kind === "erase") {
      const shape = strokeMask(height, width, data.points, data.radius_px);
      state = { ...state, ...overlaid(state, shape, kind === "erase") };
    } else if (kind === "polygon") {
      const shape = polygonMask(height, width, data.points);
      state = { ...state, ...overlaid(state, shape, data.erase === true) };
    }
  }
  return state;
}
