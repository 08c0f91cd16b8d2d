/**
 * The image with its masks on the screen: one canvas for the image, and one above it for masks,
 * prompts and tools, so that following the pointer does not redraw the image. Users of the stage set
 * its properties and call `redraw`, which draws in the browser's next animation frame.
 */

import { el } from "./dom.js";
import { MaskSheet } from "./mask_sheet.js";
import { fitView, resizeView } from "./view.js";

const DRAW_MS = 4; // of an animation frame, for drawing masks anew
const PIXELATE_FROM = 4; // screen pixels per image pixel from which pixels are not smoothed

export class Stage {
  /** @param {{label: string}} options label for screen readers */
  constructor({ label }) {
    this.base = el("canvas", { "aria-hidden": "true" });
    this.over = el("canvas", { "aria-hidden": "true" });
    this.element = el("div.stage", { tabindex: "0", role: "application", "aria-label": label, "data-key": "stage" }, this.base, this.over);
    /** @type {import("./view.js").View | null} */
    this.view = null;
    this.levels = null;
    /** Saved masks, the lowest first. @type {import("./layers.js").MaskLayer[]} */
    this.layers = [];
    /** @type {Set<import("./layers.js").MaskLayer>} */
    this.faint = new Set();
    this.sheet = new MaskSheet();
    this.opacity = 0.45;
    this.tint = 1; // factor of the opacity
    this.showMasks = true;
    /** Draws above the masks. @type {(context: CanvasRenderingContext2D, view: object) => void} */
    this.paint = () => {};
    this.onView = () => {};
    this.frame = 0;
    this.baseDirty = true;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    this.levels?.close();
    this.closed = true;
  }

  /** @param {import("./image.js").ImageLevels} levels */
  show(levels) {
    this.levels?.close();
    this.levels = levels;
    this.view = null;
    this.resize();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    for (const canvas of [this.base, this.over]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    if (!this.levels) return;
    const { width: imageWidth, height: imageHeight } = this.levels;
    const first = !this.view || this.view.fitted;
    if (first) this.fit({ width, height, imageWidth, imageHeight });
    else this.look(resizeView(this.view, width, height));
  }

  fit(size = this.view) {
    if (size) this.look({ ...fitView(size), fitted: true });
  }

  /** @param {import("./view.js").View} view */
  look(view) {
    this.view = view;
    this.baseDirty = true;
    this.element.dataset.view = `${view.x} ${view.y} ${view.scale}`; // position of the image, for tests
    this.onView(view);
    this.redraw();
  }

  /** Redraw the image, which has a sharper picture. */
  repaint() {
    this.baseDirty = true;
    this.redraw();
  }

  redraw() {
    if (!this.frame && !this.closed) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const { view, levels } = this;
    if (!view || !levels) return;
    if (this.baseDirty) this.drawImage(view, levels);
    this.baseDirty = false;
    this.drawMasks(view);
  }

  drawImage(view, levels) {
    const context = this.base.getContext("2d", { alpha: true });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.base.width, this.base.height);
    const needed = levels.side * view.scale * this.ratio;
    levels.want(needed);
    const picture = levels.picture(needed);
    if (!picture) return;
    // Only the visible part of the picture is drawn.
    const left = Math.max(0, -view.x / view.scale);
    const top = Math.max(0, -view.y / view.scale);
    const right = Math.min(levels.width, (view.width - view.x) / view.scale);
    const bottom = Math.min(levels.height, (view.height - view.y) / view.scale);
    if (right <= left || bottom <= top) return;
    const factorX = picture.width / levels.width;
    const factorY = picture.height / levels.height;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
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

  drawMasks(view) {
    const context = this.over.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.over.width, this.over.height);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    if (this.showMasks) {
      const { layers, faint, ratio } = this;
      const what = { layers, faint, ratio, opacity: Math.min(1, this.opacity * this.tint) };
      const isDone = this.sheet.draw(context, view, what, performance.now() + DRAW_MS);
      if (!isDone) this.redraw(); // continue in the next animation frame
    }
    this.paint(context, view);
  }
}
