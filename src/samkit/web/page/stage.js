/**
 * The image with its masks on the screen: one canvas for the image, and one above it for masks,
 * prompts and tools, so that following the pointer does not redraw the image. Users of the stage set
 * its properties and call `redraw`, which draws in the browser's next animation frame.
 */

import { el } from "./dom.js";
import { MaskSheet } from "./mask_sheet.js";
import { fitView, resizeView } from "./view.js";

const DRAW_MS = 4; // of an animation frame, for drawing masks anew

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
    this.onPicture = () => {}; // the image has another picture
    this.frame = 0;
    this.baseDirty = true;
    this.isAsked = false; // since the last frame
    this.yields = false;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    this.levels?.close();
    this.closed = true;
  }

  /** @param {ReturnType<typeof import("./image.js").openImage>} levels */
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
    this.onPicture();
    this.redraw();
  }

  redraw() {
    this.isAsked = true;
    this.nextFrame();
  }

  nextFrame() {
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
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    levels.draw(context, view, this.ratio);
  }

  drawMasks(view) {
    const context = this.over.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.over.width, this.over.height);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    if (this.showMasks) {
      const { layers, faint, ratio } = this;
      const what = { layers, faint, ratio, opacity: Math.min(1, this.opacity * this.tint) };
      // Masks that are being drawn anew let what somebody has just done go first, every other time.
      this.yields = this.isAsked && !this.yields;
      const isDone = this.sheet.draw(context, view, what, performance.now() + (this.yields ? 0 : DRAW_MS));
      if (!isDone) this.nextFrame();
    }
    this.isAsked = false;
    this.paint(context, view);
  }
}
