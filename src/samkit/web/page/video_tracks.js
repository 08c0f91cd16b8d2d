/**
 * The tracks of an open video, and their masks in the frames that are looked at: read from the server,
 * and changed there. What is shown here is stored; nothing waits to be sent but what is being asked.
 *
 * @typedef {{first: number, last: number, kind: string, state: string, stale: boolean}} Run
 * @typedef {{id: number, number: number, class_id: number | null, version: number, runs: Run[],
 *   attributes: {frame: number, values: object}[]}} Track
 * @typedef {{track_id: number, frame: number, kind: string, state: string, stale: boolean, rle: object,
 *   area_px: number, points: number[][], labels: number[], box: number[] | null}} TrackFrame
 */

import { get, getItems, patch, post, put, query, remove, request } from "./api.js";
import { MaskLayer, maskColor } from "./layers.js";
import { decodeRle, encodeRle } from "./rle.js";

const WINDOW = 16; // frames whose masks are read at once
const CACHED = 512; // frames whose masks are in memory
const ANSWER_S = 120; // for a prompt: a frame is encoded first, perhaps while others are

export const KEYFRAMES = ["prompted", "confirmed"];

export class VideoTracks extends EventTarget {
  /** @param {number} videoId @param {() => Map<number, {color: string}>} classes */
  constructor(videoId, classes) {
    super();
    Object.assign(this, { videoId, classes });
    /** @type {Track[]} */
    this.tracks = [];
    /** @type {Map<number, TrackFrame[]>} by frame */
    this.frames = new Map();
    /** @type {Map<number, Promise<void>>} windows on their way, by their first frame */
    this.asked = new Map();
    this.layers = new WeakMap();
    this.generation = 0; // counts what makes answers that are on their way out of date
    this.waiting = 0; // changes without an answer yet
    /** What was drawn last, until it is read back. @type {{trackId: number, frame: number, layer: MaskLayer, isStored: boolean} | null} */
    this.drawn = null;
    this.saving = Promise.resolve(); // of what was drawn, one after the other
    /** What can be undone, the latest last. @type {(() => Promise<void>)[]} */
    this.past = [];
  }

  async load() {
    this.tracks = await getItems(`videos/${this.videoId}/tracks`);
    this.changed();
  }

  /** Read everything anew: masks have changed. */
  async reload() {
    this.generation += 1;
    this.asked.clear();
    if (this.frames.size) this.old = this.frames; // shown until the new ones are there
    this.frames = new Map();
    await this.load();
  }

  changed() {
    this.dispatchEvent(new Event("changed"));
  }

  track(id) {
    return this.tracks.find((one) => one.id === id) ?? null;
  }

  /** The masks in a frame, as far as they are here. @returns {TrackFrame[]} */
  in(frame) {
    return this.frames.get(frame) ?? this.old?.get(frame) ?? [];
  }

  of(trackId, frame) {
    return this.in(frame).find((one) => one.track_id === trackId) ?? null;
  }

  get nextNumber() {
    return Math.max(0, ...this.tracks.map(({ number }) => number)) + 1;
  }

  /** A track's mask in a frame as it is or will be. @returns {MaskLayer | null} */
  layerAt(trackId, frame, color = "#000000") {
    const drawn = this.drawnAt(trackId, frame);
    if (drawn) return (drawn.layer = drawn.layer.recolored(color));
    const one = this.of(trackId, frame);
    return one?.area_px ? this.layerOf(one, color) : null;
  }

  drawnAt(trackId, frame) {
    return this.drawn?.trackId === trackId && this.drawn.frame === frame ? this.drawn : null;
  }

  /** Read the masks around a frame unless they are here. */
  want(frame, count) {
    for (const at of [frame, frame + WINDOW]) this.wantWindow(at, count).catch(() => {}); // asked for again with the next frame
  }

  /** Wait until the masks in a frame are here, and not those of before: what is changed rests on them. */
  async ready(frame, count) {
    while (!this.frames.has(frame)) await this.wantWindow(frame, count);
  }

  async wantWindow(frame, count) {
    const first = frame - (frame % WINDOW);
    if (first >= count || this.frames.has(first)) return;
    if (!this.asked.has(first)) this.asked.set(first, this.readWindow(first, Math.min(count, first + WINDOW) - 1));
    await this.asked.get(first);
  }

  async readWindow(first, last) {
    const { generation } = this;
    try {
      const items = await getItems(`videos/${this.videoId}/masks?${query({ first, last })}`);
      if (generation !== this.generation) return;
      for (let at = first; at <= last; at++) this.frames.set(at, []);
      for (const one of items) this.frames.get(one.frame).push(one);
    } finally {
      if (generation === this.generation) this.asked.delete(first);
    }
    if (this.drawn?.isStored && this.frames.has(this.drawn.frame)) this.drawn = null;
    for (const old of this.frames.keys()) {
      if (this.frames.size <= CACHED) break;
      this.frames.delete(old);
    }
    this.changed();
  }

  colorOf(track) {
    return this.classes().get(track.class_id)?.color ?? maskColor(track.number);
  }

  /** @param {TrackFrame} one @returns {MaskLayer} */
  layerOf(one, color) {
    const known = this.layers.get(one);
    const layer = known ? known.recolored(color) : new MaskLayer(decodeRle(one.rle), color);
    this.layers.set(one, layer);
    return layer;
  }

  /** Do something that changes tracks or masks, then read them again. */
  async change(act) {
    this.waiting += 1;
    this.changed();
    try {
      return await act();
    } finally {
      this.waiting -= 1;
      await this.reload();
    }
  }

  add(classId) {
    return this.change(() => post(`videos/${this.videoId}/tracks`, { class_id: classId, request_id: newKey() }));
  }

  /** Ask the model: all points and the box of a track in a frame. Without any, the frame is cleared. */
  async prompt(trackId, frame, { points, labels, box }, durationMs) {
    await this.saving; // the model corrects what was drawn
    const before = promptsOf(this.of(trackId, frame));
    await this.change(() => this.sendPrompts(trackId, frame, { points, labels, box, duration_ms: durationMs }));
    this.past.push(() => this.change(() => this.sendPrompts(trackId, frame, { ...before, undo: true })));
  }

  sendPrompts(trackId, frame, prompts) {
    if (!prompts.points.length && !prompts.box) return this.sendClear(trackId, frame);
    return request("PUT", `tracks/${trackId}/frames/${frame}/prompt`, prompts, { timeoutS: ANSWER_S });
  }

  sendClear(trackId, frame) {
    return remove(`tracks/${trackId}/frames?${query({ first: frame, last: frame })}`);
  }

  /** Store a mask that a person drew; it is shown at once. */
  draw(trackId, frame, mask, durationMs) {
    const before = this.drawnAt(trackId, frame)?.layer.mask ?? this.of(trackId, frame);
    const path = `tracks/${trackId}/frames/${frame}/mask`;
    const own = { trackId, frame, layer: new MaskLayer(mask, "#000000"), isStored: false };
    this.drawn = own;
    this.changed();
    const stored = this.saving.then(() => this.change(() => put(path, { rle: encodeRle(mask), duration_ms: durationMs })));
    this.saving = stored.then(
      () => {
        own.isStored = true;
        this.past.push(() => this.change(() => this.putBack(trackId, frame, before)));
      },
      () => {
        if (this.drawn === own) this.drawn = null;
      },
    );
    return stored;
  }

  /** Bring back what was in a frame before something was drawn. @param {import("./rle.js").Mask | TrackFrame | null} before */
  async putBack(trackId, frame, before) {
    const path = `tracks/${trackId}/frames/${frame}/mask`;
    if (before?.runs) return put(path, { rle: encodeRle(before), undo: true });
    if (before?.kind === "confirmed") return this.unclear(trackId, frame, before);
    await this.sendClear(trackId, frame);
    return before?.kind === "prompted" ? this.unclear(trackId, frame, before) : undefined;
  }

  async undo() {
    await this.saving;
    const step = this.past.pop();
    if (step) await step();
    return Boolean(step);
  }

  confirm(trackId, frame, durationMs) {
    return this.change(() => put(`tracks/${trackId}/frames/${frame}/mask`, { duration_ms: durationMs }));
  }

  async markAbsent(trackId, first, last) {
    await this.change(() => post(`tracks/${trackId}/absent`, { first, last }));
    this.past.push(() => this.change(() => this.unmarkAbsent(trackId, first, last)));
  }

  /** Masks that people had made come back as their frames are cleared one by one. */
  async unmarkAbsent(trackId, first, last) {
    if (first < last) await remove(`tracks/${trackId}/frames?${query({ first: first + 1, last })}`);
    await this.sendClear(trackId, first);
  }

  /** Clear a frame; what a person had made there can be brought back. */
  async clear(trackId, frame) {
    await this.saving;
    const before = this.of(trackId, frame);
    await this.change(() => this.sendClear(trackId, frame));
    if (KEYFRAMES.includes(before?.kind)) this.past.push(() => this.change(() => this.unclear(trackId, frame, before)));
  }

  /** @param {TrackFrame} before what was cleared */
  unclear(trackId, frame, before) {
    if (before.kind === "prompted") return this.sendPrompts(trackId, frame, { ...promptsOf(before), undo: true });
    if (!before.area_px) return post(`tracks/${trackId}/absent`, { first: frame, last: frame });
    return put(`tracks/${trackId}/frames/${frame}/mask`, { rle: before.rle, undo: true });
  }

  /** @param {"flow" | "box"} by */
  interpolate(trackId, frame, by) {
    return this.change(() => request("POST", `tracks/${trackId}/interpolate`, { frame, by }, { timeoutS: ANSWER_S }));
  }

  setClass({ id, version }, classId) {
    return this.change(() => patch(`tracks/${id}`, { version, class_id: classId }));
  }

  setAttributes({ id, version }, frame, attributes) {
    return this.change(() => patch(`tracks/${id}`, { version, frame, attributes }));
  }

  drop({ id, version }) {
    return this.change(() => remove(`tracks/${id}?${query({ version })}`));
  }

  restore({ id, version }) {
    return this.change(() => post(`tracks/${id}/restore`, { version }));
  }

  split({ id, version }, frame) {
    return this.change(() => post(`tracks/${id}/split`, { version, frame }));
  }

  merge({ id, version }, other) {
    return this.change(() => post(`tracks/${id}/merge`, { version, other_id: other.id, other_version: other.version }));
  }

  /** What lies in a direction from a frame: the nearest beginning of a run that fits. */
  nearest(frame, step, fits, tracks = this.tracks) {
    const starts = tracks.flatMap(({ runs }) => runs.filter(fits).map(({ first }) => first));
    const ahead = starts.filter((at) => (step > 0 ? at > frame : at < frame));
    if (!ahead.length) return null;
    return step > 0 ? Math.min(...ahead) : Math.max(...ahead);
  }
}

/** The prompts of a mask in a frame; none if it has none. */
export function promptsOf(one) {
  return one?.kind === "prompted" ? { points: one.points, labels: one.labels, box: one.box } : { points: [], labels: [], box: null };
}

/** The values that a track has in a frame. @param {Track} track */
export function attributesAt({ attributes }, frame) {
  return attributes.filter((one) => one.frame <= frame).at(-1)?.values ?? {};
}

/** Progress of following, asked again and again while it goes on. */
export class Following {
  /** @param {number} videoId @param {() => void} onProgress more is stored, or it has ended */
  constructor(videoId, onProgress) {
    Object.assign(this, { videoId, onProgress });
    this.job = null;
    this.at = null;
    this.timer = 0;
  }

  get isRunning() {
    return ["waiting", "running"].includes(this.job?.state);
  }

  async load() {
    this.take(await get(`videos/${this.videoId}/follow`), { first: true });
  }

  async start(body) {
    this.take(await post(`videos/${this.videoId}/follow`, body));
  }

  async stop() {
    this.take(await post(`videos/${this.videoId}/follow/stop`));
  }

  take({ job, at }, { first = false } = {}) {
    const moved = at !== this.at || job?.state !== this.job?.state;
    Object.assign(this, { job, at });
    clearTimeout(this.timer);
    if (this.isRunning && !this.closed) this.timer = setTimeout(() => this.poll(), 1000);
    if (moved && !first) this.onProgress();
  }

  async poll() {
    try {
      this.take(await get(`videos/${this.videoId}/follow`));
    } catch {
      if (!this.closed) this.timer = setTimeout(() => this.poll(), 3000); // the server may be back
    }
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}

const newKey = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`; // the first only where the page is secure
