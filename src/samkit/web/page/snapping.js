/**
 * Snapping: a shape that is drawn near other masks is joined to their borders. What lies between the two,
 * along a row or column of pixels, and is no wider than a distance becomes part of it; what others have
 * does not.
 *
 * @typedef {import("./rle.js").Mask} Mask
 */

import { boxOf, cut, maskOfSpans, sameMask, unite } from "./rle.js";
import { spansOf } from "./shapes.js";

const [OWN, OTHER] = [1, 2];
const PASSES = 2; // the second one fills corners, which lie beside what the first one has filled

/**
 * @param {Mask} shape
 * @param {Mask[]} neighbours
 * @param {number} distance pixels; wider gaps stay
 * @param {{cuts?: boolean}} [options] cuts: take away what the neighbours have
 * @returns {Mask} the same one if there is nothing to change
 */
export function snapped(shape, neighbours, distance, { cuts = true } = {}) {
  const near = neighbours.filter((one) => areNear(shape, one, distance));
  if (!near.length) return shape;
  const others = near.reduce(unite);
  const own = cuts ? cut(shape, others) : shape;
  if (!boxOf(own)) return own;
  const result = unite(own, gapsBetween(own, others, distance));
  return sameMask(result, shape) ? shape : result;
}

function areNear(one, other, distance) {
  const [a, b] = [boxOf(one), boxOf(other)];
  return a !== null && b !== null && a[0] <= b[2] + distance && b[0] <= a[2] + distance && a[1] <= b[3] + distance && b[1] <= a[3] + distance;
}

/** Free pixels in rows and columns from one mask to another one that is near. @returns {Mask} */
function gapsBetween(own, others, distance) {
  const { height, width } = own;
  const box = boxOf(own);
  const [x0, y0] = [Math.max(0, box[0] - distance - 1), Math.max(0, box[1] - distance - 1)];
  const [x1, y1] = [Math.min(width, box[2] + distance + 1), Math.min(height, box[3] + distance + 1)];
  const [columns, rows] = [x1 - x0, y1 - y0];
  const cells = new Uint8Array(columns * rows); // column by column, like the masks
  for (const [mask, value] of [[others, OTHER], [own, OWN]]) {
    for (const { column, start, stop } of spansOf(mask)) {
      if (column >= x0 && column < x1 && stop > y0 && start < y1) cells.fill(value, (column - x0) * rows + Math.max(0, start - y0), (column - x0) * rows + Math.min(rows, stop - y0));
    }
  }
  const found = new Set();
  for (let pass = 0; pass < PASSES; pass++) {
    const gaps = [];
    for (let column = 0; column < columns; column++) findGaps(cells, { first: column * rows, step: 1, count: rows }, distance, gaps);
    for (let row = 0; row < rows; row++) findGaps(cells, { first: row, step: rows, count: columns }, distance, gaps);
    for (const at of gaps) {
      cells[at] = OWN;
      found.add(at);
    }
  }
  const spans = [];
  for (const at of Uint32Array.from(found).sort()) {
    const pixel = (x0 + Math.floor(at / rows)) * height + y0 + (at % rows);
    if (spans.at(-1)?.[1] === pixel) spans.at(-1)[1] += 1;
    else spans.push([pixel, pixel + 1]);
  }
  return maskOfSpans(height, width, spans);
}

/** Note the cells of a row or column that lie between one mask and the other. @param {number[]} gaps */
function findGaps(cells, { first, step, count }, distance, gaps) {
  let [last, value] = [-1, 0]; // the last cell that is taken
  for (let i = 0; i < count; i++) {
    const now = cells[first + i * step];
    if (!now) continue;
    if (value && now !== value && i - last - 1 <= distance) {
      for (let k = last + 1; k < i; k++) gaps.push(first + k * step);
    }
    [last, value] = [i, now];
  }
}
