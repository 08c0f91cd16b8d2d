/**
 * An image as pictures of several sizes: a small one first, then the smallest that is sharp at the
 * current zoom. Pictures are decoded off the main thread and cached while the image is open.
 */

import { ApiError, OFFLINE, imageUrl } from "./api.js";

const FIRST_SIDE = 512;
const SIDES = [512, 1024, 2048, 4096]; // longest sides that the server scales to; beyond them, full size

export class ImageLevels {
  /** @param {{id: number, size_hw: [number, number]}} image @param {() => void} onChange */
  constructor({ id, size_hw: [height, width] }, onChange) {
    this.id = id;
    this.width = width;
    this.height = height;
    this.side = Math.max(width, height);
    this.onChange = onChange;
    /** @type {Map<number, ImageBitmap>} by longest side */
    this.pictures = new Map();
    this.loading = new Map();
    this.closing = new AbortController();
  }

  /** Load the small picture. @throws {ApiError} if it cannot be loaded */
  start() {
    return this.load(Math.min(FIRST_SIDE, this.side));
  }

  /** The best loaded picture for a number of pixels along the longest side. */
  picture(neededSide) {
    const wanted = this.sideFor(neededSide);
    const sides = [...this.pictures.keys()].sort((a, b) => a - b);
    const best = sides.find((side) => side >= wanted) ?? sides.at(-1);
    return best === undefined ? null : this.pictures.get(best);
  }

  /** Load the picture that is sharp at this size; failures do not matter while another is shown. */
  want(neededSide) {
    const side = this.sideFor(neededSide);
    if (!this.pictures.has(side)) this.load(side).catch(() => {});
  }

  sideFor(neededSide) {
    return SIDES.find((side) => side >= neededSide && side < this.side) ?? this.side;
  }

  load(side) {
    if (!this.loading.has(side)) {
      const loading = this.fetch(side).catch((error) => {
        this.loading.delete(side);
        throw error;
      });
      this.loading.set(side, loading);
    }
    return this.loading.get(side);
  }

  async fetch(side) {
    const url = imageUrl(this.id, side < this.side ? side : null);
    const { signal } = this.closing;
    let response;
    try {
      response = await fetch(url, { credentials: "same-origin", signal });
    } catch {
      throw new ApiError(OFFLINE, "The image could not be loaded: the server cannot be reached.");
    }
    if (!response.ok) {
      const detail = await response.json().then(({ detail }) => detail, () => response.statusText);
      throw new ApiError(response.status, detail);
    }
    const content = await response.blob();
    const picture = await createImageBitmap(content).catch(() => {
      throw new ApiError(422, "The image cannot be decoded: its file is damaged.");
    });
    if (signal.aborted) return picture.close();
    this.pictures.set(side, picture);
    return this.onChange();
  }

  close() {
    this.closing.abort();
    for (const picture of this.pictures.values()) picture.close();
    this.pictures.clear();
  }
}
