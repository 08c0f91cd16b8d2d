/**
 * An image as pictures of several sizes: a small one first, then the smallest that is sharp at the
 * current zoom. Pictures are decoded off the main thread and cached while the image is open.
 */

import { ApiError, OFFLINE, imageUrl } from "./api.js";
import { t } from "./texts.js";
import { TiledImage, closeAll } from "./tiled_image.js";
import { PIXELATE_FROM } from "./view.js";

const FIRST_SIDE = 512;
const SIDES = [512, 1024, 2048, 4096]; // longest sides that the server scales to; beyond them, full size

export const limits = { fullPixels: Infinity }; // of images that are loaded whole; the server says how many

/**
 * An image for the screen: whole, or by tiles if it is too large.
 * @param {{id: number, size_hw: [number, number]}} image @param {() => void} onChange
 */
export function openImage(image, onChange) {
  const [height, width] = image.size_hw;
  return height * width > limits.fullPixels ? new TiledImage(image, onChange) : new ImageLevels(image, onChange);
}

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
    /** Pictures of another range of values, until there is one of this. @type {Map<number, ImageBitmap>} */
    this.old = new Map();
    this.range = null; // values that become black and white, as "LOW,HIGH"; null: as the project says
    this.closing = new AbortController();
  }

  /** Load the small picture. @throws {ApiError} if it cannot be loaded */
  start() {
    return this.load(Math.min(FIRST_SIDE, this.side));
  }

  /** The best loaded picture for a number of pixels along the longest side. */
  picture(neededSide) {
    const wanted = this.sideFor(neededSide);
    const pictures = this.pictures.size ? this.pictures : this.old;
    const sides = [...pictures.keys()].sort((a, b) => a - b);
    const best = sides.find((side) => side >= wanted) ?? sides.at(-1);
    return best === undefined ? null : pictures.get(best);
  }

  /**
   * Draw the part that is in view.
   * @param {CanvasRenderingContext2D} context in CSS pixels
   * @param {import("./view.js").View} view
   * @param {number} ratio device pixels in a CSS pixel
   */
  draw(context, view, ratio, { load = true } = {}) {
    const needed = this.side * view.scale * ratio;
    if (load) this.want(needed);
    const picture = this.picture(needed);
    if (picture) drawPicture(context, view, picture);
  }

  /** Show other values as black and white. @param {string | null} range */
  setRange(range) {
    if (range === this.range) return;
    this.range = range;
    this.loading.clear();
    if (this.pictures.size) {
      closeAll(this.old);
      [this.old, this.pictures] = [this.pictures, this.old];
    }
    this.onChange();
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
    const { range } = this;
    const url = imageUrl(this.id, side < this.side ? side : null, range);
    const { signal } = this.closing;
    let response;
    try {
      response = await fetch(url, { credentials: "same-origin", signal });
    } catch {
      throw new ApiError(OFFLINE, t("The image could not be loaded: the server cannot be reached."));
    }
    if (!response.ok) {
      const detail = await response.json().then(({ detail }) => detail, () => response.statusText);
      throw new ApiError(response.status, detail);
    }
    const content = await response.blob();
    const picture = await createImageBitmap(content).catch(() => {
      throw new ApiError(422, t("The image cannot be decoded: its file is damaged."));
    });
    if (signal.aborted || range !== this.range) return picture.close();
    this.pictures.set(side, picture);
    closeAll(this.old);
    return this.onChange();
  }

  close() {
    this.closing.abort();
    closeAll(this.pictures);
    closeAll(this.old);
  }
}

/** Draw the visible part of a picture of the whole image. */
export function drawPicture(context, view, picture) {
  const { imageWidth, imageHeight } = view;
  const left = Math.max(0, -view.x / view.scale);
  const top = Math.max(0, -view.y / view.scale);
  const right = Math.min(imageWidth, (view.width - view.x) / view.scale);
  const bottom = Math.min(imageHeight, (view.height - view.y) / view.scale);
  if (right <= left || bottom <= top) return;
  const factorX = picture.width / imageWidth;
  const factorY = picture.height / imageHeight;
  context.imageSmoothingEnabled = view.scale < PIXELATE_FROM;
  context.drawImage(
    picture,
    left * factorX,
    top * factorY,
    (right - left) * factorX,
    (bottom - top) * factorY,
    left * view.scale + view.x,
    top * view.scale + view.y,
    (right - left) * view.scale,
    (bottom - top) * view.scale,
  );
}
