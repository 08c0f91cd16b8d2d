/**
 * Position of the image on the screen: screen = image * scale + (x, y), in CSS pixels. A view is a
 * frozen value; each function returns a new one that keeps part of the image visible.
 *
 * @typedef {{scale: number, x: number, y: number, width: number, height: number,
 *   imageWidth: number, imageHeight: number}} View  width and height of the window
 */

const MARGIN = 12; // around a fitted image
const BELOW = 84; // for the bars at the bottom, which must not cover the image
const MIN_VISIBLE = 48; // pixels of the image that stay visible
export const MAX_SCALE = 32;
export const PIXELATE_FROM = 4; // screen pixels per image pixel from which pixels are not smoothed

/** Fit the whole image into the window, at no more than three times its size. */
export function fitView({ width, height, imageWidth, imageHeight }) {
  const scale = Math.min(
    Math.max(1, width - 2 * MARGIN) / imageWidth,
    Math.max(1, height - MARGIN - BELOW) / imageHeight,
    3,
  );
  return Object.freeze({
    scale,
    x: (width - imageWidth * scale) / 2,
    y: MARGIN + Math.max(0, height - MARGIN - BELOW - imageHeight * scale) / 2,
    width,
    height,
    imageWidth,
    imageHeight,
  });
}

/** Zoom by a factor around a point on the screen, which stays over the same pixel. */
export function zoomView(view, factor, screenX, screenY) {
  const fitted = fitView(view).scale;
  const scale = Math.min(MAX_SCALE, Math.max(Math.min(fitted, 1) / 2, view.scale * factor));
  const ratio = scale / view.scale;
  return inSight({
    ...view,
    scale,
    x: screenX - (screenX - view.x) * ratio,
    y: screenY - (screenY - view.y) * ratio,
  });
}

/** Pan by a distance on the screen. */
export function panView(view, dx, dy) {
  return inSight({ ...view, x: view.x + dx, y: view.y + dy });
}

/** Keep scale and centre in a window of another size. */
export function resizeView(view, width, height) {
  return inSight({
    ...view,
    width,
    height,
    x: view.x + (width - view.width) / 2,
    y: view.y + (height - view.height) / 2,
  });
}

/** Pan as little as needed to make a point of the image visible. */
export function showPlace(view, [imageX, imageY], margin = 24) {
  const [x, y] = toScreen(view, imageX, imageY);
  const dx = Math.max(margin - x, 0) + Math.min(view.width - margin - x, 0);
  const dy = Math.max(margin - y, 0) + Math.min(view.height - margin - y, 0);
  return dx || dy ? panView(view, dx, dy) : view;
}

/** Pan as little as needed to make a box of the image [x0, y0, x1, y1] visible. */
export function showBox(view, box) {
  const [left, top] = toScreen(view, box[0], box[1]);
  const [right, bottom] = toScreen(view, box[2], box[3]);
  const isSeen = left >= 0 && top >= 0 && right <= view.width && bottom <= view.height;
  return isSeen ? view : showPlace(showPlace(view, box.slice(2)), box.slice(0, 2));
}

export const toImage = (view, x, y) => [(x - view.x) / view.scale, (y - view.y) / view.scale];

export const toScreen = (view, x, y) => [x * view.scale + view.x, y * view.scale + view.y];

function inSight(view) {
  const clamp = (at, length, window) =>
    Math.min(window - MIN_VISIBLE, Math.max(MIN_VISIBLE - length, at));
  return Object.freeze({
    ...view,
    x: clamp(view.x, view.imageWidth * view.scale, view.width),
    y: clamp(view.y, view.imageHeight * view.scale, view.height),
  });
}
