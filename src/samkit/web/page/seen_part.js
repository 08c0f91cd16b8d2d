/**
 * What the model sees of an image by tiles: the part in view when it is asked. As long as the view
 * changes little, the part stays, so that the model need not look anew at each pan.
 */

const GRID = 16; // pixels: nearly equal views give the same part
const BESIDE = 0.05; // of the part's longer side, around prompts out of view and inside of its edges
const MOST = 1.6; // times as long as what is in view, or as short

/** @typedef {[number, number, number, number]} Part  x0, y0, x1, y1 in pixels of the image */

/**
 * @param {import("./view.js").View} view
 * @param {{points: number[][], box?: number[] | null}} prompts which the part must have
 * @param {Part | null} last the part before
 * @returns {Part}
 */
export function seenPart(view, { points, box = null }, last) {
  const { imageWidth, imageHeight } = view;
  const inView = [-view.x, -view.y, view.width - view.x, view.height - view.y].map((at) => at / view.scale);
  const visible = clipped(inView, imageWidth, imageHeight);
  const places = box ? [...points, box.slice(0, 2), box.slice(2)] : points;
  if (last && suits(last, visible, places, imageWidth, imageHeight)) return last;
  const beside = BESIDE * longest(visible);
  const edges = [...visible];
  for (const [x, y] of places) {
    if (x < edges[0] || x >= edges[2] || y < edges[1] || y >= edges[3]) {
      edges[0] = Math.min(edges[0], x - beside);
      edges[1] = Math.min(edges[1], y - beside);
      edges[2] = Math.max(edges[2], x + beside);
      edges[3] = Math.max(edges[3], y + beside);
    }
  }
  const [x0, y0, x1, y1] = edges;
  const down = (at) => Math.floor(at / GRID) * GRID;
  const up = (at) => Math.ceil(at / GRID) * GRID;
  return clipped([down(x0), down(y0), up(x1), up(y1)], imageWidth, imageHeight);
}

function suits(part, visible, places, imageWidth, imageHeight) {
  const times = longest(part) / longest(visible);
  if (times > MOST || times < 1 / MOST) return false;
  const inside = BESIDE * longest(part);
  const [x0, y0, x1, y1] = [
    part[0] > 0 ? part[0] + inside : 0,
    part[1] > 0 ? part[1] + inside : 0,
    part[2] < imageWidth ? part[2] - inside : imageWidth,
    part[3] < imageHeight ? part[3] - inside : imageHeight,
  ];
  return places.every(([x, y]) => x >= x0 && y >= y0 && x <= x1 && y <= y1);
}

const longest = ([x0, y0, x1, y1]) => Math.max(x1 - x0, y1 - y0);

function clipped([x0, y0, x1, y1], width, height) {
  return [Math.max(0, x0), Math.max(0, y0), Math.min(width, x1), Math.min(height, y1)];
}
