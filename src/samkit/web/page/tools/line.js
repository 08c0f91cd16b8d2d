/** A line, drawn by one drag or corner by corner; a double click or Enter ends it. */

import { PolygonTool } from "./polygon.js";
import { farApart } from "./shared.js";

export class LineTool extends PolygonTool {
  start = null;

  down(press) {
    this.start = press;
  }

  up(press) {
    const { start } = this;
    this.start = null;
    this.lost = [];
    if (!this.points.length && start && farApart(start, press)) {
      this.points = [start.xy, press.xy];
      this.close();
    } else if (!this.isNear(this.points.at(-1), press) || press.keyboard) this.points.push(press.xy);
    this.actions.toolChanged();
  }

  close() {
    if (this.points.length < 2) return false;
    const { points } = this;
    this.points = [];
    this.actions.line(points);
    return true;
  }

  cancel() {
    this.start = null;
  }

  draw(context, view, pointer) {
    const shown = this.start && pointer && !this.points.length ? [this.start.xy] : this.points;
    this.drawCorners(context, view, shown, pointer);
  }
}
