/**
 * Frames of a video as pictures, fetched when they are shown, and some ahead while it plays. It is what
 * a stage takes in place of an image.
 */

import { query } from "./api.js";
import { drawPicture } from "./image.js";

const SIDES = [512, 1024, 2048]; // longest sides that the server scales to; beyond them, full size
const CACHED = 48; // pictures in memory
const AT_ONCE = 4; // requests for pictures that are not on the screen yet

export class FramePictures {
  /** @param {{id: number, size_hw: [number, number], num_frames: number}} video @param {() => void} onChange the frame has a picture */
  constructor({ id, size_hw: [height, width], num_frames: count }, onChange) {
    Object.assign(this, { id, width, height, count, onChange });
    this.side = Math.max(width, height);
    this.frame = 0;
    this.wanted = this.sideFor(SIDES[0]);
    /** @type {Map<string, ImageBitmap>} by frame and side, the one used last at the end */
    this.pictures = new Map();
    /** @type {Map<string, Promise<void>>} */
    this.loading = new Map();
    this.shown = null; // the picture that is on the screen, until the frame has its own
    this.shownFrame = null; // whose picture it is
    this.closing = new AbortController();
    this.error = null; // why the frame cannot be shown
  }

  /** Show a frame. */
  show(frame) {
    this.frame = frame;
    this.error = null;
    this.load(frame);
    this.onChange();
  }

  /** Whether a frame can be shown at once. */
  has(frame) {
    return this.pictures.has(this.key(frame));
  }

  /** Whether the frame itself is on the screen, and not yet the one before. */
  get isShown() {
    return this.shownFrame === this.frame;
  }

  /** Fetch frames that are likely shown next. */
  ahead(frames) {
    for (const frame of frames) {
      if (this.loading.size >= AT_ONCE) return;
      if (frame >= 0 && frame < this.count) this.load(frame);
    }
  }

  want(neededSide) {
    const side = this.sideFor(neededSide);
    if (side === this.wanted) return;
    this.wanted = side;
    this.load(this.frame);
  }

  picture() {
    const key = this.key(this.frame);
    const found = this.pictures.get(key);
    if (!found) return this.shown;
    this.pictures.delete(key); // to the end
    this.pictures.set(key, found);
    this.shown = found;
    this.shownFrame = this.frame;
    return found;
  }

  /** Draw the part that is in view. */
  draw(context, view, ratio) {
    this.want(this.side * view.scale * ratio);
    const picture = this.picture();
    if (picture) drawPicture(context, view, picture);
  }

  sideFor(neededSide) {
    return SIDES.find((side) => side >= neededSide && side < this.side) ?? this.side;
  }

  key(frame) {
    return `${frame} ${this.wanted}`;
  }

  load(frame) {
    const key = this.key(frame);
    if (this.pictures.has(key) || this.loading.has(key)) return;
    const loading = this.fetch(frame, key).then(
      () => this.loading.delete(key),
      (error) => {
        this.loading.delete(key);
        if (frame !== this.frame || this.closing.signal.aborted) return;
        this.error = error.message;
        this.onChange();
      },
    );
    this.loading.set(key, loading);
  }

  async fetch(frame, key) {
    const { wanted, side, closing } = this;
    const url = `/api/videos/${this.id}/frames/${frame}?${query({ max_side: wanted < side ? wanted : "" })}`;
    const response = await fetch(url, { credentials: "same-origin", signal: closing.signal });
    if (!response.ok) throw new Error(await response.json().then(({ detail }) => detail, () => response.statusText));
    const picture = await createImageBitmap(await response.blob());
    if (closing.signal.aborted) return picture.close();
    this.pictures.set(key, picture);
    for (const [old, other] of this.pictures) {
      if (this.pictures.size <= CACHED) break;
      if (other === this.shown || old === key) continue;
      this.pictures.delete(old);
      other.close();
    }
    if (frame === this.frame) this.onChange();
    return undefined;
  }

  close() {
    this.closing.abort();
    for (const picture of this.pictures.values()) picture.close();
    this.pictures.clear();
  }
}
