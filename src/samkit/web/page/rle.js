/**
 * Run-length encoded masks. A mask is {height, width, runs}: lengths of alternating runs of pixels that
 * are off and on, the first one off, down the columns of the image as COCO counts them. Masks are
 * immutable values. A mask of 24 megapixels takes a few kilobytes, so that the history may hold any
 * number of them.
 *
 * @typedef {{height: number, width: number, runs: Uint32Array}} Mask
 * @typedef {{size: [number, number], counts: string}} Rle  COCO's compressed form
 */

const CHAR_ZERO = 48; // a digit of five bits and a flag is written as one character from here on

/** @param {Rle} rle @returns {Mask} */
export function decodeRle({ size: [height, width], counts }) {
  const runs = [];
  let at = 0;
  let total = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      if (at === counts.length) throw new RangeError("counts end in the middle of a number");
      const digit = counts.charCodeAt(at++) - CHAR_ZERO;
      if (digit < 0 || digit > 63) throw new RangeError(`counts have no character ${counts[at - 1]}`);
      value |= (digit & 31) << shift;
      shift += 5;
      more = (digit & 32) !== 0;
      if (!more && digit & 16 && shift < 32) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2]; // later runs are written as differences
    if (value < 0) throw new RangeError("counts have a negative length");
    runs.push(value);
    total += value;
  }
  if (total !== height * width) {
    throw new RangeError(`counts must add up to ${height} x ${width} pixels; got ${total}`);
  }
  return { height, width, runs: Uint32Array.from(runs) };
}

/** @param {Mask} mask @returns {Rle} */
export function encodeRle({ height, width, runs }) {
  const characters = [];
  for (let i = 0; i < runs.length; i++) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    let more = true;
    while (more) {
      let digit = value & 31;
      value >>= 5;
      more = digit & 16 ? value !== -1 : value !== 0;
      if (more) digit |= 32;
      characters.push(String.fromCharCode(digit + CHAR_ZERO));
    }
  }
  return { size: [height, width], counts: characters.join("") };
}

/** @returns {Mask} without a pixel. */
export function emptyMask(height, width) {
  return { height, width, runs: Uint32Array.of(height * width) };
}

/** The mask of spans [start, stop) of pixels counted down the columns, sorted and apart. */
export function maskOfSpans(height, width, spans) {
  const runs = [];
  let end = 0;
  for (const [start, stop] of spans) {
    if (start === end && runs.length) runs[runs.length - 1] += stop - start;
    else runs.push(start - end, stop - start);
    end = stop;
  }
  if (end < height * width) runs.push(height * width - end);
  return { height, width, runs: Uint32Array.from(runs) };
}

/** Calls `visit(start, stop)` for each span of pixels that are on. */
export function eachSpan({ runs }, visit) {
  let end = 0;
  for (let i = 0; i < runs.length; i++) {
    const start = end;
    end += runs[i];
    if (i % 2 && end > start) visit(start, end);
  }
}

/** Number of pixels that are on. @type {(mask: Mask) => number} */
export const areaOf = once(({ runs }) => {
  let sum = 0;
  for (let i = 1; i < runs.length; i += 2) sum += runs[i];
  return sum;
});

/** Pixels of either mask. */
export const unite = (one, other) => combine(one, other, (a, b) => a || b);

/** Pixels of the first mask that the second does not have. */
export const cut = (one, other) => combine(one, other, (a, b) => a && !b);

/** Pixels of both masks. */
export const intersect = (one, other) => combine(one, other, (a, b) => a && b);

/** Whether two masks have the same pixels. */
export function sameMask(one, other) {
  if (one.height !== other.height || one.width !== other.width) return false;
  return areaOf(one) === areaOf(other) && areaOf(intersect(one, other)) === areaOf(one);
}

/** Whether pixel (x, y) is on. */
export function hasPixel(mask, x, y) {
  const { height, runs } = mask;
  const box = boxOf(mask);
  if (!box || x < box[0] || y < box[1] || x >= box[2] || y >= box[3]) return false;
  const index = x * height + y;
  let end = 0;
  for (let i = 0; i < runs.length; i++) {
    end += runs[i];
    if (index < end) return i % 2 === 1;
  }
  return false;
}

/**
 * Smallest box [x0, y0, x1, y1] with all pixels, far edges exclusive; null without pixels.
 * @type {(mask: Mask) => number[] | null}
 */
export const boxOf = once((mask) => {
  const { height } = mask;
  let x0 = Infinity;
  let y0 = Infinity;
  let x1 = -1;
  let y1 = -1;
  eachSpan(mask, (start, stop) => {
    const first = Math.floor(start / height);
    const last = Math.floor((stop - 1) / height);
    x0 = Math.min(x0, first);
    x1 = Math.max(x1, last + 1);
    if (last > first) {
      y0 = 0; // from one column into the next, a span has the bottom of one and the top of the other
      y1 = height;
    } else {
      y0 = Math.min(y0, start % height);
      y1 = Math.max(y1, ((stop - 1) % height) + 1);
    }
  });
  return x1 < 0 ? null : [x0, y0, x1, y1];
});

/** Computes a property of a mask, which never changes, once. */
function once(compute) {
  const known = new WeakMap();
  return (mask) => {
    if (!known.has(mask)) known.set(mask, compute(mask));
    return known.get(mask);
  };
}

function combine(one, other, keep) {
  if (one.height !== other.height || one.width !== other.width) {
    throw new RangeError(
      `masks must have one size; got ${one.height}x${one.width} and ${other.height}x${other.width}`,
    );
  }
  const total = one.height * one.width;
  const spans = [];
  let i = 0;
  let j = 0;
  let endOne = one.runs.length ? one.runs[0] : total;
  let endOther = other.runs.length ? other.runs[0] : total;
  let at = 0;
  while (at < total) {
    const stop = Math.min(endOne, endOther, total);
    if (stop > at && keep(i % 2 === 1, j % 2 === 1)) {
      const last = spans[spans.length - 1];
      if (last && last[1] === at) last[1] = stop;
      else spans.push([at, stop]);
    }
    at = stop;
    while (i < one.runs.length && endOne === at && at < total) endOne += one.runs[++i] ?? total;
    while (j < other.runs.length && endOther === at && at < total) endOther += other.runs[++j] ?? total;
  }
  return maskOfSpans(one.height, one.width, spans);
}
