/**
 * A mask as polygons and back. A ring is a closed line [[x, y], ...] of corners; a pixel belongs to the
 * mask if its middle lies within an odd number of rings, so that holes are rings, too.
 *
 * @typedef {import("./rle.js").Mask} Mask
 * @typedef {number[][]} Ring
 */

import { cut, intersect, unite } from "./rle.js";
import { bitmapOf, outlinesOf, ringsMask, strokeMask } from "./raster.js";

const MAX_CELLS = 4096; // along the longer side of a mask's box
const MARGIN = 1.5; // pixels beside an edge that may differ from it, beyond the tolerance

/**
 * The outlines of a mask with as few corners as stay within a distance of them.
 * @param {Mask} mask
 * @param {number} tolerance pixels
 * @returns {Ring[]}
 */
export function ringsOf(mask, tolerance) {
  const bitmap = bitmapOf(mask, MAX_CELLS);
  if (!bitmap) return [];
  const [x0, y0, x1, y1] = bitmap.box;
  const [scaleX, scaleY] = [(x1 - x0) / bitmap.width, (y1 - y0) / bitmap.height];
  return outlinesOf(bitmap)
    .map((loop) => {
      const ring = [];
      for (let i = 0; i < loop.length; i += 2) ring.push([x0 + loop[i] * scaleX, y0 + loop[i + 1] * scaleY]);
      return simplified(ring, tolerance);
    })
    .filter((ring) => ring.length > 2);
}

/** A closed line with fewer corners, by Douglas and Peucker's procedure. @returns {Ring} */
function simplified(ring, tolerance) {
  const far = farthest(ring, ring[0]);
  const stays = new Uint8Array(ring.length);
  stays[0] = stays[far] = 1;
  const spans = [[0, far], [far, ring.length]];
  while (spans.length) {
    const [first, last] = spans.pop();
    const [a, b] = [ring[first], ring[last % ring.length]];
    let [most, at] = [tolerance, -1];
    for (let i = first + 1; i < last; i++) {
      const away = distanceTo(ring[i], a, b);
      if (away > most) [most, at] = [away, i];
    }
    if (at < 0) continue;
    stays[at] = 1;
    spans.push([first, at], [at, last]);
  }
  return ring.filter((_, i) => stays[i]);
}

function farthest(ring, [x, y]) {
  let [most, at] = [-1, 0];
  ring.forEach(([px, py], i) => {
    const away = Math.hypot(px - x, py - y);
    if (away > most) [most, at] = [away, i];
  });
  return at;
}

/** The distance of a place from the line between two others. */
export function distanceTo([x, y], a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const part = length ? Math.min(1, Math.max(0, ((x - a[0]) * dx + (y - a[1]) * dy) / length)) : 0;
  return Math.hypot(x - a[0] - part * dx, y - a[1] - part * dy);
}

/**
 * A mask whose outlines were changed. Only what lies at the changed edges, or between their old and new
 * places, becomes as the rings say: elsewhere the mask may be finer than they are.
 * @param {Mask} mask
 * @param {Ring[]} before
 * @param {Ring[]} after
 * @param {number} tolerance pixels that the mask may be away from the rings before
 */
export function reshaped(mask, before, after, tolerance) {
  const { height, width } = mask;
  const [was, becomes] = [before, after].map((rings) => ringsMask(height, width, rings));
  const [old, fresh] = [edgesOf(before), edgesOf(after)];
  let zone = unite(cut(was, becomes), cut(becomes, was));
  const changed = [...old.keys()].filter((key) => !fresh.has(key)).map((key) => old.get(key));
  const made = [...fresh.keys()].filter((key) => !old.has(key)).map((key) => fresh.get(key));
  for (const edge of [...changed, ...made]) zone = unite(zone, strokeMask(height, width, edge, tolerance + MARGIN));
  return unite(cut(mask, zone), intersect(becomes, zone));
}

function edgesOf(rings) {
  const edges = new Map();
  for (const ring of rings) {
    ring.forEach((corner, i) => {
      const edge = [corner, ring[(i + 1) % ring.length]];
      edges.set(String(edge), edge);
    });
  }
  return edges;
}
