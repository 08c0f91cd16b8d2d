/**
 * Mask logits to a mask at the image's size, as the server does it: bilinear to the model space, without
 * its padding, bilinear to the image. Both steps together are one mean of three logits along each axis.
 * Down a column of the image, pixels between logits of one sign have that sign, and are not computed.
 *
 * @typedef {{modelSide: number, side: number, height: number, width: number}} Spaces  sides of the model
 *   space and of the logits, and the size of the image
 */

const TAPS = 3;

/** Height and width of the image in the model space. @param {Spaces} spaces */
export function resizedSize({ modelSide, height, width }) {
  const scale = modelSide / Math.max(height, width);
  return [height, width].map((side) => Math.max(1, Math.floor(side * scale + 0.5)));
}

/** A point of the image in the model space. @param {Spaces} spaces @param {number[]} xy */
export function toModel(spaces, [x, y]) {
  const [high, wide] = resizedSize(spaces);
  return [(x * wide) / spaces.width, (y * high) / spaces.height];
}

/**
 * The pixels whose logits are above 0.
 * @param {Float32Array} logits row by row, `side` squared
 * @param {Spaces} spaces
 * @returns {import("./rle.js").Mask}
 */
export function maskOfLogits(logits, spaces) {
  const { side, modelSide, height, width } = spaces;
  const [high, wide] = resizedSize(spaces);
  const rows = axisTaps(side, modelSide, high, height);
  const columns = axisTaps(side, modelSide, wide, width);
  const groups = groupsOf(rows.first);
  const filled = Array.from({ length: side }, (_, x) => hasPositive(logits, side, x));
  const last = side - 1;
  const mixed = new Float32Array(side); // a column of the image, at the logits' rows
  const runs = [];
  let on = false;
  let begun = 0;
  const turn = (at, inside) => {
    if (inside === on) return;
    runs.push(at - begun);
    begun = at;
    on = inside;
  };
  for (let x = 0; x < width; x++) {
    const start = x * height;
    const a = columns.first[x];
    const b = Math.min(a + 1, last);
    const c = Math.min(a + 2, last);
    if (!filled[a] && !filled[b] && !filled[c]) {
      turn(start, false);
      continue;
    }
    const tap = TAPS * x;
    for (let y = 0, at = 0; y < side; y++, at += side) {
      mixed[y] = columns.weights[tap] * logits[at + a] + columns.weights[tap + 1] * logits[at + b] + columns.weights[tap + 2] * logits[at + c];
    }
    for (const { row, top, bottom } of groups) {
      const upper = mixed[row];
      const middle = mixed[Math.min(row + 1, last)];
      const lower = mixed[Math.min(row + 2, last)];
      const first = upper > 0;
      if (first === middle > 0 && first === lower > 0) {
        turn(start + top, first);
        continue;
      }
      const { weights } = rows;
      for (let y = top, at = TAPS * top; y < bottom; y++, at += TAPS) {
        turn(start + y, weights[at] * upper + weights[at + 1] * middle + weights[at + 2] * lower > 0);
      }
    }
  }
  runs.push(height * width - begun);
  return { height, width, runs: Uint32Array.from(runs) };
}

/** Whether a column of logits has one above 0. */
function hasPositive(logits, side, x) {
  for (let at = x; at < logits.length; at += side) if (logits[at] > 0) return true;
  return false;
}

/** Pixels that depend on the same logits: the first logit, the first pixel, the end. */
function groupsOf(first) {
  const groups = [];
  for (let y = 0; y < first.length; y++) {
    const last = groups.at(-1);
    if (last?.row === first[y]) last.bottom = y + 1;
    else groups.push({ row: first[y], top: y, bottom: y + 1 });
  }
  return groups;
}

/** For each pixel along an axis, the first of its three logits, and their weights. */
function axisTaps(side, modelSide, resized, original) {
  const first = new Int32Array(original);
  const weights = new Float32Array(TAPS * original);
  for (let pixel = 0; pixel < original; pixel++) {
    const image = bilinear(resized, original, pixel);
    first[pixel] = bilinear(side, modelSide, image.low).low;
    for (const [at, share] of [[image.low, 1 - image.part], [image.next, image.part]]) {
      const model = bilinear(side, modelSide, at);
      weights[TAPS * pixel + model.low - first[pixel]] += share * (1 - model.part);
      weights[TAPS * pixel + model.next - first[pixel]] += share * model.part;
    }
  }
  return { first, weights };
}

/** The two inputs that an output lies between, and the weight of the second. */
function bilinear(from, to, output) {
  const place = Math.min(Math.max((output + 0.5) * (from / to) - 0.5, 0), from - 1);
  const low = Math.floor(place);
  return { low, next: Math.min(low + 1, from - 1), part: place - low };
}
