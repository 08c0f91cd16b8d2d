/** A box around a thing, from corner to corner. */

import { boxFrom, drawBox, drawCross } from "./shared.js";

export class BoxTool {
  holds = true;

  /** @param {import("../studio_tools.js").ToolActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.start = null;
    this.end = null;
  }

  down(press) {
    this.start = press;
    this.end = press;
  }

  move(press) {
    if (this.start) this.end = press;
  }

  up(press) {
    const { start, actions } = this;
    this.cancel();
    const box = start && boxFrom(start.xy, press.xy, actions.size());
    if (box) actions.setBox(box, !(start.secondary || actions.backgroundMode()));
  }

  cancel() {
    this.start = null;
    this.end = null;
  }

  draw(context, view, pointer) {
    if (this.start) drawBox(context, view, this.start.xy, this.end.xy);
    else if (pointer) drawCross(context, view, pointer);
  }
}
