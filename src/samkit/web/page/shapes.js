/**
 * Masks as shapes: their connected parts and holes, and how they are cleaned up. Pixels that touch by a
 * side or a corner are one part; what a mask encloses by sides is a hole, as in samkit's `remove_small_regions`.
 *
 * @typedef {import("./rle.js").Mask} Mask
 * @typedef {{column: number, start: number, stop: number}} Span rows [start, stop) of a column
 * @typedef {{area: number, spans: Span[], touches: boolean}} Piece  touches: the edge of the mask's box
 */

import { areaOf, boxOf, cut, eachSpan, maskOfSpans, unite } from "./rle.js";

/** The connected parts of a mask, the largest first. @returns {Mask[]} */
export function partsOf(mask) {
  const pieces = piecesOf(spansOf(mask), boxOf(mask), 1);
  return pieces.sort((a, b) => b.area - a.area).map((piece) => maskOf(mask, [piece]));
}

/** Fill holes of at most `maxArea` pixels. @returns {Mask} */
export function fillHoles(mask, maxArea) {
  const box = boxOf(mask);
  if (!box || maxArea < 1) return mask;
  const holes = piecesOf(gapsOf(mask, box), box, 0).filter(({ area, touches }) => !touches && area <= maxArea);
  return holes.length ? unite(mask, maskOf(mask, holes)) : mask;
}

/** Drop parts of at most `maxArea` pixels; the largest part always stays. @returns {Mask} */
export function dropIslands(mask, maxArea) {
  if (maxArea < 1) return mask;
  const pieces = piecesOf(spansOf(mask), boxOf(mask), 1).sort((a, b) => b.area - a.area);
  const small = pieces.slice(1).filter(({ area }) => area <= maxArea);
  return small.length ? cut(mask, maskOf(mask, small)) : mask;
}

/**
 * Smooth a mask: a pixel is in it if more than half of the image's pixels are that lie in a square
 * around it, `radius` pixels to each side. @returns {Mask}
 */
export function smooth(mask, radius) {
  const box = boxOf(mask);
  if (!box || radius < 1) return mask;
  const { height, width } = mask;
  // Nothing changes further away from the mask.
  const left = Math.max(0, box[0] - radius);
  const top = Math.max(0, box[1] - radius);
  const right = Math.min(width, box[2] + radius);
  const bottom = Math.min(height, box[3] + radius);
  const [columns, rows] = [right - left, bottom - top];
  // Sums of each column's window of rows, then of these along the columns.
  const sums = Array.from({ length: columns }, () => new Uint32Array(rows));
  for (const { column, start, stop } of spansOf(mask)) {
    const own = sums[column - left];
    for (let row = Math.max(top, start - radius); row < Math.min(bottom, stop + radius); row++) {
      own[row - top] += Math.min(stop, row + radius + 1) - Math.max(start, row - radius);
    }
  }
  const window = new Uint32Array(rows);
  const spans = [];
  const add = (column, sign) => {
    const own = sums[column - left];
    if (own) for (let i = 0; i < rows; i++) window[i] += sign * own[i];
  };
  for (let column = left; column < left + radius; column++) add(column, 1);
  for (let column = left; column < right; column++) {
    add(column + radius, 1);
    if (column - radius - 1 >= left) add(column - radius - 1, -1);
    const across = Math.min(width, column + radius + 1) - Math.max(0, column - radius);
    let start = -1;
    for (let row = top; row <= bottom; row++) {
      const down = Math.min(height, row + radius + 1) - Math.max(0, row - radius);
      const isIn = row < bottom && 2 * window[row - top] > across * down;
      if (isIn && start < 0) start = row;
      if (!isIn && start >= 0) {
        spans.push({ column, start, stop: row });
        start = -1;
      }
    }
  }
  return maskOfSpans(height, width, spans.map((span) => flat(span, height)));
}

/**
 * Clean a mask up: smooth it, then drop small islands and fill small holes.
 * @param {Mask} mask
 * @param {{radius: number, islands: number, holes: number}} limits in pixels; 0 leaves it as it is
 */
export function cleanUp(mask, { radius, islands, holes }) {
  const smoothed = smooth(mask, radius);
  const safe = areaOf(smoothed) ? smoothed : mask; // a mask thinner than the square would be gone
  return fillHoles(dropIslands(safe, islands), holes);
}

/** What is left of a mask outside of others. @param {Iterable<Mask>} others */
export function outside(mask, others) {
  let left = mask;
  for (const other of others) if (overlap(left, other)) left = cut(left, other);
  return left;
}

/** Whether the boxes of two masks overlap, without which no pixel is in both. */
export function overlap(one, other) {
  const [a, b] = [boxOf(one), boxOf(other)];
  return a !== null && b !== null && a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

/** @returns {Span[]} in order */
export function spansOf(mask) {
  const { height } = mask;
  const spans = [];
  eachSpan(mask, (start, stop) => {
    for (let at = start; at < stop; ) {
      const column = Math.floor(at / height);
      const end = Math.min(stop, (column + 1) * height);
      spans.push({ column, start: at - column * height, stop: end - column * height });
      at = end;
    }
  });
  return spans;
}

/** The spans of the box that are not in the mask. @returns {Span[]} */
function gapsOf(mask, [x0, y0, x1, y1]) {
  const gaps = [];
  let [column, row] = [x0, y0];
  const upTo = (nextColumn, nextRow) => {
    for (; column < nextColumn; column += 1, row = y0) if (row < y1) gaps.push({ column, start: row, stop: y1 });
    if (column < x1 && row < nextRow) gaps.push({ column, start: row, stop: nextRow });
  };
  for (const span of spansOf(mask)) {
    upTo(span.column, span.start);
    row = span.stop;
  }
  upTo(x1, y0);
  return gaps;
}

/**
 * Connected pieces of spans.
 * @param {Span[]} spans in order
 * @param {number[] | null} box
 * @param {0 | 1} reach 1 if corners connect
 * @returns {Piece[]}
 */
function piecesOf(spans, box, reach) {
  if (!box) return [];
  const parent = spans.map((_, i) => i);
  const root = (i) => {
    let at = i;
    while (parent[at] !== at) at = parent[at] = parent[parent[at]];
    return at;
  };
  let before = 0; // first span of the column before
  let from = 0; // first span of this column
  for (let i = 0; i < spans.length; i++) {
    const { column, start, stop } = spans[i];
    if (i && spans[i - 1].column !== column) {
      before = spans[i - 1].column === column - 1 ? from : i;
      from = i;
    }
    // Spans that end above this one cannot meet the later ones of its column either.
    while (before < from && spans[before].stop + reach <= start) before += 1;
    for (let k = before; k < from && spans[k].start < stop + reach; k++) parent[root(k)] = root(i);
  }
  const [x0, y0, x1, y1] = box;
  const pieces = new Map();
  spans.forEach((span, i) => {
    const key = root(i);
    if (!pieces.has(key)) pieces.set(key, { area: 0, spans: [], touches: false });
    const piece = pieces.get(key);
    piece.area += span.stop - span.start;
    piece.spans.push(span);
    piece.touches ||= span.column === x0 || span.column === x1 - 1 || span.start === y0 || span.stop === y1;
  });
  return [...pieces.values()];
}

const flat = ({ column, start, stop }, height) => [column * height + start, column * height + stop];

/** @param {Piece[]} pieces */
function maskOf({ height, width }, pieces) {
  const spans = pieces.flatMap((piece) => piece.spans.map((span) => flat(span, height)));
  return maskOfSpans(height, width, spans.sort((a, b) => a[0] - b[0]));
}
