/**
 * Mask layers for the screen. A layer is drawn once, within the mask's box and at a bounded size, as
 * a tinted picture and an outline; pan and zoom only move and scale these.
 */

import { bitmapOf, outlinesOf } from "./raster.js";
import { boxOf } from "./rle.js";

const MAX_CELLS = 1024; // along the longer side of a mask's box: a picture of at most 4 MB
export const THUMBNAIL_CELLS = 192;

export class MaskLayer {
  /**
   * @param {import("./rle.js").Mask} mask
   * @param {string} color as #rrggbb
   */
  constructor(mask, color, maxSide = MAX_CELLS) {
    this.mask = mask;
    this.color = color;
    this.maxSide = maxSide;
    this.box = boxOf(mask);
    this.isBuilt = false;
  }

  /** Draw the layer, once. */
  build() {
    if (this.isBuilt) return;
    this.isBuilt = true;
    const bitmap = bitmapOf(this.mask, this.maxSide);
    if (!bitmap) return;
    const { width, height, on } = bitmap;
    this.cells = [width, height];
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    const words = new Uint32Array(pixels.data.buffer);
    const word = wordOf(this.color);
    for (let i = 0; i < on.length; i++) if (on[i]) words[i] = word;
    context.putImageData(pixels, 0, 0);
    this.picture = canvas.transferToImageBitmap(); // which is drawn in a third of a canvas's time
    this.outline = new Path2D();
    for (const loop of outlinesOf(bitmap)) {
      this.outline.moveTo(loop[0], loop[1]);
      for (let i = 2; i < loop.length; i += 2) this.outline.lineTo(loop[i], loop[i + 1]);
      this.outline.closePath();
    }
  }

  /** The same mask in another colour. */
  recolored(color) {
    return color === this.color ? this : new MaskLayer(this.mask, color, this.maxSide);
  }

  /** Position on the screen as x, y, width, height; null if not visible. */
  place(view) {
    if (!this.box) return null;
    const [x0, y0, x1, y1] = this.box;
    const x = x0 * view.scale + view.x;
    const y = y0 * view.scale + view.y;
    const width = (x1 - x0) * view.scale;
    const height = (y1 - y0) * view.scale;
    if (x > view.width || y > view.height || x + width < 0 || y + height < 0) return null;
    return [x, y, width, height];
  }

  drawTint(context, view, opacity) {
    const place = this.place(view);
    if (!place) return;
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = view.scale < 4;
    context.drawImage(this.picture, ...place);
    context.globalAlpha = 1;
  }

  drawOutline(context, view, { width = 1.5, color = this.color, dash = null } = {}) {
    const place = this.place(view);
    if (!place) return;
    const [x, y, placeWidth, placeHeight] = place;
    const scaleX = placeWidth / this.cells[0];
    const scaleY = placeHeight / this.cells[1];
    context.save();
    context.translate(x, y);
    context.scale(scaleX, scaleY);
    context.lineWidth = (2 * width) / (scaleX + scaleY);
    context.lineJoin = "round";
    if (dash) context.setLineDash(dash.map((length) => (2 * length) / (scaleX + scaleY)));
    context.strokeStyle = color;
    context.stroke(this.outline);
    context.restore();
  }
}

/** An opaque colour as the four bytes of a canvas pixel. */
function wordOf(color) {
  const bytes = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return new Uint32Array(Uint8Array.of(...bytes, 255).buffer)[0];
}

const FIRST_HUE = 0.58;
const HUE_STEP = 0.618034; // golden ratio: neighbours differ, however many there are

const colors = new Map(); // by index: asked for each mask at each change

/** Colour of a mask without a class, as samkit draws masks elsewhere. */
export function maskColor(index) {
  if (!colors.has(index)) colors.set(index, newColor(index));
  return colors.get(index);
}

function newColor(index) {
  const hue = (FIRST_HUE + index * HUE_STEP) % 1;
  const channel = (shift) => {
    const k = (shift + hue * 6) % 6;
    return Math.floor(255 * (1 - 0.75 * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return `#${[5, 3, 1].map((shift) => channel(shift).toString(16).padStart(2, "0")).join("")}`;
}
