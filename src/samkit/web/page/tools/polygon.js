/** A polygon, corner by corner; a click on the first corner, a double click or Enter closes it. */

import { toScreen } from "../view.js";

const CLOSE_PX = 10; // from the first corner, on the screen

export class PolygonTool {
  holds = false;

  /** @param {import("../studio_tools.js").ToolActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {number[][]} */
    this.points = [];
    this.erase = false;
    this.lost = []; // corners that were cancelled, until others are set
  }

  down() {}

  move() {}

  up(press) {
    const [height, width] = this.actions.size();
    const xy = [Math.min(width, Math.max(0, press.xy[0])), Math.min(height, Math.max(0, press.xy[1]))];
    this.lost = [];
    if (this.points.length === 0) this.erase = press.secondary || this.actions.backgroundMode();
    if (this.points.length > 2 && this.isNear(this.points[0], { xy })) this.close();
    else if (!this.isNear(this.points.at(-1), { xy }) || press.keyboard) this.points.push(xy);
    this.actions.toolChanged();
  }

  /** Whether a press is at a corner. */
  isNear(corner, { xy }) {
    return corner !== undefined && this.actions.screenDistance(corner, xy) < CLOSE_PX;
  }

  double() {
    this.close();
  }

  /** @returns {boolean} whether there was something to close */
  close() {
    if (this.points.length < 3) return false;
    const points = this.points;
    this.points = [];
    this.actions.polygon(points, this.erase);
    return true;
  }

  /** Take the last corner back, or bring cancelled ones back. @returns {boolean} whether there was one */
  undo() {
    if (this.points.length === 0 && this.lost.length) {
      [this.points, this.lost] = [this.lost, []];
      return true;
    }
    return this.points.pop() !== undefined;
  }

  /** @returns {boolean} whether there was something to cancel */
  reset() {
    const had = this.points.length > 0;
    if (had) this.lost = this.points;
    this.points = [];
    return had;
  }

  cancel() {}

  draw(context, view, pointer) {
    this.drawCorners(context, view, this.points, pointer);
  }

  drawCorners(context, view, points, pointer) {
    if (!points.length) return;
    const corners = points.map((point) => toScreen(view, ...point));
    for (const [color, width] of [["#000a", 4], [this.erase ? "#ff8a80" : "#fff", 2]]) {
      context.beginPath();
      corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (pointer) context.lineTo(...toScreen(view, ...pointer));
      context.lineWidth = width;
      context.strokeStyle = color;
      context.stroke();
    }
    corners.forEach(([x, y], i) => {
      context.beginPath();
      context.arc(x, y, i ? 3.5 : 5.5, 0, 2 * Math.PI);
      context.fillStyle = i ? "#fff" : "#7dd3fc";
      context.fill();
    });
  }
}
