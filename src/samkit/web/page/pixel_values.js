/** Values of pixels as the image's file has them, asked for in blocks where the pointer rests. */

import { ApiError, get } from "./api.js";

const SIDE = 64;
const REST_MS = 120;
const MAX_BLOCKS = 400;

export class PixelValues {
  /** @param {number} imageId @param {() => void} onChange called when values have come */
  constructor(imageId, onChange) {
    Object.assign(this, { imageId, onChange });
    this.isOn = true; // off while the server would have to read all of a large image first
    this.isExact = true; // not of tiles that are JPEG
    /** @type {Map<string, (number | null)[][][] | null>} null while it is asked for */
    this.blocks = new Map();
    this.timer = 0;
  }

  /** The values of a pixel, one for each channel; null if they are not known yet. @returns {(number | null)[] | null} */
  at(x, y) {
    if (!this.isOn) return null;
    const [left, top] = [x - (x % SIDE), y - (y % SIDE)];
    const key = `${left} ${top}`;
    const block = this.blocks.get(key);
    if (block) return block[y - top]?.[x - left] ?? null;
    if (block === undefined) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(key, left, top), REST_MS);
    }
    return null;
  }

  async ask(key, left, top) {
    if (this.closed || this.blocks.has(key)) return;
    if (this.blocks.size >= MAX_BLOCKS) this.blocks.clear();
    this.blocks.set(key, null);
    try {
      const { values, is_exact: isExact } = await get(`images/${this.imageId}/values?x=${left}&y=${top}&side=${SIDE}`);
      this.isExact = isExact;
      this.blocks.set(key, values);
      if (!this.closed) this.onChange();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.blocks.delete(key); // asked for again when the pointer moves
    }
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}

/** Values in words. @param {(number | null)[]} values */
export const shownValues = (values) => values.map((one) => (one === null ? "NaN" : Number.isInteger(one) ? String(one) : one.toPrecision(4))).join(" ");
