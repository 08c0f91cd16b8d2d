/** The tool for most work: a click asks for a mask, a drag is a box. */

import { boxFrom, drawBox, farApart, pixelOf } from "./shared.js";

export class PointTool {
  holds = false;

  /** @param {import("../studio_tools.js").ToolActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.start = null;
    this.end = null;
  }

  down(press) {
    this.start = press;
    this.end = null;
  }

  move(press) {
    if (this.start && (this.end || farApart(this.start, press))) this.end = press;
  }

  up(press) {
    const { start, end, actions } = this;
    this.cancel();
    if (!start) return;
    const background = start.secondary || actions.backgroundMode();
    if (end) {
      const box = boxFrom(start.xy, press.xy, actions.size());
      if (box) actions.setBox(box, !background);
    } else {
      const pixel = pixelOf(start.xy, actions.size());
      if (pixel) actions.addPoint(pixel, background ? 0 : 1);
    }
  }

  cancel() {
    this.start = null;
    this.end = null;
  }

  draw(context, view) {
    if (this.start && this.end) drawBox(context, view, this.start.xy, this.end.xy);
  }
}
