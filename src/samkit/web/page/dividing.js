/**
 * Dividing a mask by a line that was drawn over it: each connected part that the line leaves goes to the
 * side of the line on which it lies, and so do the line's own pixels, so that no pixel is lost.
 *
 * @typedef {import("./rle.js").Mask} Mask
 */

import { areaOf, cut, eachSpan, intersect, maskOfSpans, unite } from "./rle.js";
import { strokeMask } from "./raster.js";
import { overlap, partsOf } from "./shapes.js";

// Of two pixels that touch by a corner across the line, one has its middle at most 0.71 from it.
const LINE_RADIUS = 0.75;
const BESIDE_RADIUS = 2.5; // pixels so near show on which side of the line a part lies

/**
 * @param {Mask} mask
 * @param {number[][]} points of the line, [[x, y], ...]
 * @returns {[Mask, Mask] | null} the larger one first; null if all of the mask stays on one side
 */
export function divide(mask, points) {
  const { height, width } = mask;
  const line = strokeMask(height, width, points, LINE_RADIUS);
  const beside = strokeMask(height, width, points, BESIDE_RADIUS);
  const sides = { left: [], right: [] };
  for (const part of partsOf(cut(mask, line))) sides[sideOfPart(part, beside, points)].push(part);
  if (!sides.left.length || !sides.right.length) return null;
  const [left, right] = [sides.left, sides.right].map((parts) => parts.reduce(unite));
  const onLine = intersect(mask, line);
  const toLeft = pixelsWhere(onLine, (x, y) => sideOf(x, y, points).distance >= 0);
  return bySize(...tidied(unite(left, toLeft), unite(right, cut(onLine, toLeft)), left, right));
}

/** @returns {"left" | "right"} */
function sideOfPart(part, beside, points) {
  let [votes, sum, sumX, sumY] = [0, 0, 0, 0];
  const near = overlap(part, beside) ? intersect(part, beside) : null;
  if (near) {
    eachPixel(near, (x, y) => {
      const { distance, isBeyond } = sideOf(x, y, points);
      if (!isBeyond) votes += Math.sign(distance);
    });
  }
  if (!votes) {
    // The line does not come near it: where its middle is decides.
    eachPixel(part, (x, y) => {
      [sum, sumX, sumY] = [sum + 1, sumX + x, sumY + y];
    });
    votes = sideOf(sumX / sum, sumY / sum, points).distance;
  }
  return votes >= 0 ? "left" : "right";
}

/**
 * Where a place is, seen from the part of the line that is nearest to it.
 * @returns {{distance: number, isBeyond: boolean}} distance from that part's straight line, positive on the
 *   left of whoever looks down the line with y upwards; isBeyond: it is beyond one of the line's ends
 */
function sideOf(x, y, points) {
  let nearest = Infinity;
  let found = { distance: 0, isBeyond: false };
  for (let i = 0; i + 1 < points.length; i++) {
    const [ax, ay] = points[i];
    const [dx, dy] = [points[i + 1][0] - ax, points[i + 1][1] - ay];
    const length = Math.hypot(dx, dy);
    if (!length) continue;
    const along = ((x - ax) * dx + (y - ay) * dy) / length;
    const distance = ((x - ax) * dy - (y - ay) * dx) / length;
    const away = Math.hypot(distance, along - Math.min(length, Math.max(0, along)));
    // At a corner of the line both parts are equally near: the one that is seen less edge-on is right.
    const isTie = Math.abs(away - nearest) < 1e-9;
    if (isTie ? Math.abs(distance) <= Math.abs(found.distance) : away > nearest) continue;
    nearest = away;
    found = { distance, isBeyond: (i === 0 && along < 0) || (i + 2 === points.length && along > length) };
  }
  return found;
}

/** Give slivers of the line that touch only the other side's parts to that side. */
function tidied(one, other, ownOfOne, ownOfOther) {
  const strays = (mask, own) => partsOf(mask).filter((part) => !overlap(part, own) || !areaOf(intersect(part, own)));
  const [fromOne, fromOther] = [strays(one, ownOfOne), strays(other, ownOfOther)];
  const give = (mask, lost, gained) => [...gained].reduce(unite, lost.reduce(cut, mask));
  return [give(one, fromOne, fromOther), give(other, fromOther, fromOne)];
}

const bySize = (one, other) => (areaOf(one) >= areaOf(other) ? [one, other] : [other, one]);

/** Calls `visit(x, y)` with the middle of each pixel. */
function eachPixel(mask, visit) {
  const { height } = mask;
  eachSpan(mask, (start, stop) => {
    for (let at = start; at < stop; at++) visit(Math.floor(at / height) + 0.5, (at % height) + 0.5);
  });
}

/** The pixels of a mask for whose middles `isIn(x, y)` holds. */
function pixelsWhere(mask, isIn) {
  const { height, width } = mask;
  const spans = [];
  eachPixel(mask, (x, y) => {
    if (!isIn(x, y)) return;
    const at = (x - 0.5) * height + y - 0.5;
    const last = spans.at(-1);
    if (last?.[1] === at) last[1] = at + 1;
    else spans.push([at, at + 1]);
  });
  return maskOfSpans(height, width, spans);
}
