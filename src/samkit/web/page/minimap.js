/** A small picture of the image with the part that is in sight, while not all of it is. */

import { el } from "./dom.js";
import { t } from "./texts.js";
import { toImage, toScreen, panView } from "./view.js";

const SIDE = 140;

export class Minimap {
  /** @param {import("./stage.js").Stage} stage */
  constructor(stage) {
    this.stage = stage;
    this.isOn = true;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.element = el("div.minimap", { hidden: true, title: t("Drag to move the image") }, this.canvas);
    this.element.addEventListener("pointerdown", (event) => {
      this.element.setPointerCapture(event.pointerId);
      this.moveTo(event);
    });
    this.element.addEventListener("pointermove", (event) => event.buttons && this.moveTo(event));
  }

  /** Put the place that is pointed at in the middle. */
  moveTo({ clientX, clientY }) {
    const { stage } = this;
    const box = this.canvas.getBoundingClientRect();
    const { view } = stage;
    const place = [((clientX - box.left) / box.width) * view.imageWidth, ((clientY - box.top) / box.height) * view.imageHeight];
    const [x, y] = toScreen(view, ...place);
    stage.look(panView(view, view.width / 2 - x, view.height / 2 - y));
  }

  draw() {
    const { stage, canvas } = this;
    const { view, levels } = stage;
    if (!view || !levels) return;
    const [left, top] = toImage(view, 0, 0);
    const [right, bottom] = toImage(view, view.width, view.height);
    const isAll = left <= 0 && top <= 0 && right >= view.imageWidth && bottom >= view.imageHeight;
    this.element.hidden = !this.isOn || isAll;
    if (this.element.hidden) return;
    const scale = SIDE / levels.side;
    const [width, height] = [Math.max(1, Math.round(levels.width * scale)), Math.max(1, Math.round(levels.height * scale))];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const picture = levels.picture(SIDE);
    if (picture) context.drawImage(picture, 0, 0, width, height);
    context.strokeStyle = "#e5484d";
    context.lineWidth = 2;
    const clamp = (value, most) => Math.min(most, Math.max(0, value * scale));
    context.strokeRect(clamp(left, width), clamp(top, height), clamp(right, width) - clamp(left, width), clamp(bottom, height) - clamp(top, height));
  }
}
