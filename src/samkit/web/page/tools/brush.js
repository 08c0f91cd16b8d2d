/** Brush and eraser: one tool with two signs. The stroke is shown live and takes effect at its end. */

import { toScreen } from "../view.js";

export class BrushTool {
  holds = true;

  /** @param {import("../studio_tools.js").ToolActions} actions @param {boolean} erases */
  constructor(actions, erases) {
    this.actions = actions;
    this.erases = erases;
    /** @type {number[][] | null} */
    this.points = null;
    this.erasing = erases;
  }

  down(press) {
    const turned = press.secondary || press.erase || this.actions.backgroundMode();
    this.erasing = this.erases || turned;
    this.points = [press.xy];
  }

  move({ xy }) {
    if (!this.points) return;
    const [x, y] = this.points.at(-1);
    // Points nearer than a quarter of the radius change nothing that can be seen.
    if (Math.hypot(xy[0] - x, xy[1] - y) > this.actions.radius() / 4) this.points.push(xy);
  }

  up({ xy }) {
    if (!this.points) return;
    const points = [...this.points, xy];
    this.cancel();
    this.actions.stroke(points.length === 2 && same(...points) ? [xy] : points, this.erasing);
  }

  cancel() {
    this.points = null;
  }

  /** The stroke so far, for the stage to paint over or out of the mask. */
  get live() {
    return this.points && { points: this.points, radius: this.actions.radius(), erase: this.erasing };
  }

  draw(context, view, pointer) {
    if (!pointer) return;
    const [x, y] = toScreen(view, ...pointer);
    for (const [color, width] of [["#000a", 3], ["#fff", 1.5]]) {
      context.beginPath();
      context.arc(x, y, Math.max(2, this.actions.radius() * view.scale), 0, 2 * Math.PI);
      context.strokeStyle = color;
      context.lineWidth = width;
      if (this.erases || this.actions.backgroundMode()) context.setLineDash([5, 4]);
      context.stroke();
      context.setLineDash([]);
    }
  }
}

// Sliders of the radius are logarithmic: 1 to 400 pixels.
export const radiusOf = (value) => 400 ** (value / 100);
export const sliderOf = (radius) => Math.round((100 * Math.log(radius)) / Math.log(400));

const same = ([ax, ay], [bx, by]) => ax === bx && ay === by;

/** Paint a stroke onto a context, in the image's place on the screen. */
export function paintStroke(context, view, { points, radius }, color) {
  context.beginPath();
  points.forEach((point, i) => {
    const [x, y] = toScreen(view, ...point);
    if (i) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  if (points.length === 1) context.lineTo(...toScreen(view, points[0][0] + 0.01, points[0][1]));
  context.lineCap = "round";
  context.lineJoin = "round";
  context.lineWidth = 2 * radius * view.scale;
  context.strokeStyle = color;
  context.stroke();
}
