/**
 * Rasteriser: strokes and polygons to masks, masks to small bitmaps and outlines for the screen.
 * Coordinates are in the image, with pixel i from i to i + 1; a pixel belongs to a shape if its
 * centre does.
 *
 * @typedef {import("./rle.js").Mask} Mask
 * @typedef {{box: number[], width: number, height: number, on: Uint8Array}} Bitmap
 *   a mask within its box [x0, y0, x1, y1], row by row, of `width` x `height` cells.
 */

import { boxOf, eachSpan, emptyMask, maskOfSpans } from "./rle.js";

/**
 * The mask that a round brush covers along a line through points [[x, y], ...].
 * @returns {Mask}
 */
export function strokeMask(height, width, points, radius) {
  const columns = new Map();
  const add = (column, low, high) => {
    const start = Math.max(0, Math.ceil(low - 0.5));
    const stop = Math.min(height, Math.floor(high - 0.5) + 1);
    if (stop <= start) return;
    if (!columns.has(column)) columns.set(column, []);
    columns.get(column).push([start, stop]);
  };
  for (let i = 0; i < points.length; i++) {
    const [ax, ay] = points[i];
    const [bx, by] = points[Math.min(i + 1, points.length - 1)];
    const first = Math.max(0, Math.ceil(Math.min(ax, bx) - radius - 0.5));
    const last = Math.min(width - 1, Math.floor(Math.max(ax, bx) + radius - 0.5));
    for (let column = first; column <= last; column++) {
      const reach = capsuleReach(ax, ay, bx, by, radius, column + 0.5);
      if (reach) add(column, reach[0], reach[1]);
    }
  }
  return maskOfColumns(height, width, columns);
}

/** Where the upright line at x meets a disc that moved from a to b: [low, high], or null. */
function capsuleReach(ax, ay, bx, by, radius, x) {
  let low = Infinity;
  let high = -Infinity;
  for (const [cx, cy] of [[ax, ay], [bx, by]]) {
    const inside = radius * radius - (x - cx) ** 2;
    if (inside < 0) continue;
    const half = Math.sqrt(inside);
    low = Math.min(low, cy - half);
    high = Math.max(high, cy + half);
  }
  // Between the discs the two straight sides, each moved out by the radius.
  const length = Math.hypot(bx - ax, by - ay);
  if (length > 0) {
    const nx = (-(by - ay) / length) * radius;
    const ny = ((bx - ax) / length) * radius;
    for (const side of [1, -1]) {
      const sx = ax + side * nx;
      const tx = bx + side * nx;
      const part = tx === sx ? NaN : (x - sx) / (tx - sx);
      if (part >= 0 && part <= 1) {
        const y = ay + side * ny + part * (by - ay);
        low = Math.min(low, y);
        high = Math.max(high, y);
      }
    }
  }
  return low <= high ? [low, high] : null;
}

/**
 * The inside of a closed polygon [[x, y], ...]; where it crosses itself, even-odd.
 * @returns {Mask}
 */
export const polygonMask = (height, width, points) => ringsMask(height, width, [points]);

/**
 * What lies within an odd number of closed polygons.
 * @param {number[][][]} rings
 * @returns {Mask}
 */
export function ringsMask(height, width, rings) {
  const columns = new Map();
  const crossings = new Map(); // rows at which the edges cross the middle of each column
  for (const ring of rings) {
    ring.forEach(([ax, ay], i) => {
      const [bx, by] = ring[(i + 1) % ring.length];
      const first = Math.max(0, Math.ceil(Math.min(ax, bx) - 0.5));
      const last = Math.min(width - 1, Math.ceil(Math.max(ax, bx) - 0.5) - 1);
      for (let column = first; column <= last; column++) {
        if (!crossings.has(column)) crossings.set(column, []);
        crossings.get(column).push(ay + ((column + 0.5 - ax) / (bx - ax)) * (by - ay));
      }
    });
  }
  for (const [column, hits] of crossings) {
    hits.sort((a, b) => a - b);
    const spans = [];
    for (let i = 0; i + 1 < hits.length; i += 2) {
      const start = Math.max(0, Math.ceil(hits[i] - 0.5));
      const stop = Math.min(height, Math.ceil(hits[i + 1] - 0.5));
      if (stop > start) spans.push([start, stop]);
    }
    if (spans.length) columns.set(column, spans);
  }
  return maskOfColumns(height, width, columns);
}

function maskOfColumns(height, width, columns) {
  const spans = [];
  for (const column of [...columns.keys()].sort((a, b) => a - b)) {
    const rows = columns.get(column).sort((a, b) => a[0] - b[0]);
    for (const [start, stop] of rows) {
      const from = column * height + start;
      const to = column * height + stop;
      const last = spans[spans.length - 1];
      if (last && from <= last[1]) last[1] = Math.max(last[1], to);
      else spans.push([from, to]);
    }
  }
  return spans.length ? maskOfSpans(height, width, spans) : emptyMask(height, width);
}

/**
 * A mask within its box as cells, each a pixel or, in a larger box, the pixel in its middle.
 * @param {Mask} mask
 * @param {number} maxSide maximum number of cells along the longer side
 * @returns {Bitmap | null} null for a mask without pixels
 */
export function bitmapOf(mask, maxSide) {
  const box = boxOf(mask);
  if (!box) return null;
  const [x0, y0, x1, y1] = box;
  const scale = Math.min(1, maxSide / Math.max(x1 - x0, y1 - y0));
  const width = Math.max(1, Math.round((x1 - x0) * scale));
  const height = Math.max(1, Math.round((y1 - y0) * scale));
  const cellW = (x1 - x0) / width;
  const cellH = (y1 - y0) / height;
  const on = new Uint8Array(width * height);
  const columnOf = (i) => x0 + Math.floor((i + 0.5) * cellW);
  const rowFrom = (y) => Math.min(height, Math.max(0, Math.ceil((y - y0) / cellH - 0.5)));
  let i = 0;
  eachSpan(mask, (start, stop) => {
    const last = Math.floor((stop - 1) / mask.height);
    while (i < width && (columnOf(i) + 1) * mask.height <= start) i++;
    for (let k = i; k < width && columnOf(k) <= last; k++) {
      const top = columnOf(k) * mask.height;
      const from = rowFrom(Math.max(start - top, 0));
      const to = rowFrom(Math.min(stop - top, mask.height));
      for (let j = from; j < to; j++) on[j * width + k] = 1;
    }
  });
  return { box, width, height, on };
}

const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // right, down, left, up: clockwise around the mask

/**
 * Closed lines around the cells that are on, in cells: through the middle of each cell's side, so
 * that a slanted edge is not drawn as stairs.
 * @param {Bitmap} bitmap
 * @returns {number[][]} loops [x, y, x, y, ...]
 */
export function outlinesOf({ width, height, on }) {
  const isOn = (x, y) => x >= 0 && y >= 0 && x < width && y < height && on[y * width + x] === 1;
  const seen = new Uint8Array((width + 1) * (height + 1)); // top sides that a loop went along
  const loops = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!isOn(x, y) || isOn(x, y - 1) || seen[y * (width + 1) + x]) continue;
      loops.push(followEdge(x, y, isOn, seen, width + 1));
    }
  }
  return loops;
}

/** Goes around with the mask on the right hand, from the top left corner of cell (x, y). */
function followEdge(startX, startY, isOn, seen, stride) {
  const loop = [];
  let [x, y, heading] = [startX, startY, 0];
  let [lastDx, lastDy] = [NaN, NaN];
  do {
    if (heading === 0) seen[y * stride + x] = 1;
    const [dx, dy] = STEPS[heading];
    const [mx, my] = [x + dx / 2, y + dy / 2];
    const count = loop.length;
    const [stepX, stepY] = count ? [mx - loop[count - 2], my - loop[count - 1]] : [NaN, NaN];
    if (stepX === lastDx && stepY === lastDy) {
      loop[count - 2] = mx; // straight on: the point before is not needed
      loop[count - 1] = my;
    } else loop.push(mx, my);
    [lastDx, lastDy] = [stepX, stepY];
    x += dx;
    y += dy;
    heading = turn(x, y, heading, isOn);
  } while (x !== startX || y !== startY || heading !== 0);
  return loop;
}

/** Next heading at a corner; where cells touch by a corner only, they are apart. */
function turn(x, y, heading, isOn) {
  const ahead = {
    0: [[x, y - 1], [x, y]],
    1: [[x, y], [x - 1, y]],
    2: [[x - 1, y], [x - 1, y - 1]],
    3: [[x - 1, y - 1], [x, y - 1]],
  }[heading];
  const [left, right] = ahead;
  if (!isOn(...right)) return (heading + 1) % 4;
  return isOn(...left) ? (heading + 3) % 4 : heading;
}
