/** What tools share: places as pixels and boxes of the image, and how a box is drawn. */

import { toScreen } from "../view.js";

const DRAG_PX = 5; // less is a click of an unsteady hand
const DRAG_TOUCH_PX = 12;
const PROMPT_PX = 8; // from a prompt, on the screen

/** The pixel at a place, null outside of the image. */
export function pixelOf([x, y], [height, width]) {
  const pixel = [Math.floor(x), Math.floor(y)];
  const inside = pixel[0] >= 0 && pixel[1] >= 0 && pixel[0] < width && pixel[1] < height;
  return inside ? pixel : null;
}

/** The box between two places, cut to the image; null if nothing is left. */
export function boxFrom([ax, ay], [bx, by], [height, width]) {
  const clamp = (value, most) => Math.min(most, Math.max(0, Math.round(value)));
  const box = [
    clamp(Math.min(ax, bx), width),
    clamp(Math.min(ay, by), height),
    clamp(Math.max(ax, bx), width),
    clamp(Math.max(ay, by), height),
  ];
  return box[2] - box[0] >= 2 && box[3] - box[1] >= 2 ? box : null;
}

/**
 * The prompt at a place on the screen: a click, or a corner of the box; null if there is none.
 * @returns {{index: number} | {opposite: number[]} | null} opposite: the corner that stays where it is
 */
export function promptAt({ xy, touch }, { points, box }, screenDistance) {
  const reach = touch ? 2 * PROMPT_PX : PROMPT_PX;
  const middles = points.map(([x, y]) => [x + 0.5, y + 0.5]);
  const index = middles.findLastIndex((middle) => screenDistance(middle, xy) <= reach);
  if (index >= 0) return { index };
  if (!box) return null;
  for (const [i, j] of [[0, 1], [0, 3], [2, 1], [2, 3]]) {
    if (screenDistance([box[i], box[j]], xy) <= reach) return { opposite: [box[2 - i], box[4 - j]] };
  }
  return null;
}

export function farApart(one, other) {
  const distance = Math.hypot(one.screen[0] - other.screen[0], one.screen[1] - other.screen[1]);
  return distance > (one.touch ? DRAG_TOUCH_PX : DRAG_PX);
}

export function drawBox(context, view, from, to, { dash = [6, 4] } = {}) {
  const [ax, ay] = toScreen(view, ...from);
  const [bx, by] = toScreen(view, ...to);
  const place = [Math.min(ax, bx), Math.min(ay, by), Math.abs(bx - ax), Math.abs(by - ay)];
  context.lineWidth = 3;
  context.strokeStyle = "#000a";
  context.strokeRect(...place);
  context.lineWidth = 1.5;
  context.strokeStyle = "#ffd54a";
  context.setLineDash(dash);
  context.strokeRect(...place);
  context.setLineDash([]);
}

/** Lines through a place over the whole stage. */
export function drawCross(context, view, place) {
  const [x, y] = toScreen(view, ...place);
  for (const [color, width] of [["#0006", 3], ["#fff9", 1]]) {
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, view.height);
    context.moveTo(0, y);
    context.lineTo(view.width, y);
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke();
  }
}
