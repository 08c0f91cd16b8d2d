/** The tool for most work: a click asks for a mask, a drag is a box; a prompt that is there is dragged or removed. */

import { toScreen } from "../view.js";
import { boxFrom, drawBox, farApart, pixelOf, promptAt } from "./shared.js";

export class PointTool {
  holds = false;

  /** @param {import("../studio_tools.js").ToolActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.start = null;
    this.end = null;
    this.prompt = null; // that was pressed
  }

  down(press) {
    this.start = press;
    this.end = null;
    this.prompt = promptAt(press, this.actions.prompts(), this.actions.screenDistance);
  }

  move(press) {
    if (this.start && (this.end || farApart(this.start, press))) this.end = press;
  }

  up(press) {
    const { start, end, prompt, actions } = this;
    this.cancel();
    if (!start) return;
    const background = start.secondary || actions.backgroundMode();
    if (prompt && background && !end) {
      if (prompt.opposite) actions.removeBox();
      else actions.removePoint(prompt.index);
    } else if (prompt && !background && end) {
      const box = prompt.opposite && boxFrom(prompt.opposite, press.xy, actions.size());
      const pixel = pixelOf(press.xy, actions.size());
      if (box) actions.setBox(box, true);
      else if (pixel && !prompt.opposite) actions.movePoint(prompt.index, pixel);
    } else if (end) {
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
    this.prompt = null;
  }

  draw(context, view) {
    const { start, end, prompt } = this;
    if (!start || !end) return;
    const isMoved = prompt && !start.secondary && !this.actions.backgroundMode();
    if (isMoved && !prompt.opposite) drawMoved(context, toScreen(view, ...end.xy));
    else drawBox(context, view, isMoved ? prompt.opposite : start.xy, end.xy);
  }
}

/** Where a click that is dragged would be. */
function drawMoved(context, [x, y]) {
  for (const [color, width] of [["#000a", 4], ["#fff", 2]]) {
    context.beginPath();
    context.arc(x, y, 8, 0, 2 * Math.PI);
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke();
  }
}
