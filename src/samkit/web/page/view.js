/**
 * Where the image lies on the screen: screen = image * scale + (x, y), in CSS pixels. A view is a
 * frozen value; each function gives a new one that keeps part of the image in sight.
 *
 * @typedef {{scale: number, x: number, y: number, width: number, height: number,
 *   imageWidth: number, imageHeight: number}} View  width and height of the window
 */

const MARGIN = 12; // around an image that is fitted
const BELOW = 84; // for the bars at the bottom, which must not hide what is worked on
const LEAST_IN_SIGHT = 48; // of the image, however far it is pushed
export const MOST_SCALE = 32;

/** The whole image, as large as the window allows, at most at three times its size. */
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

/** Zoom by a factor around a place on the screen, which stays over the same pixel. */
export function zoomView(view, factor, screenX, screenY) {
  const fitted = fitView(view).scale;
  const scale = Math.min(MOST_SCALE, Math.max(Math.min(fitted, 1) / 2, view.scale * factor));
  const ratio = scale / view.scale;
  return inSight({
    ...view,
    scale,
    x: screenX - (screenX - view.x) * ratio,
    y: screenY - (screenY - view.y) * ratio,
  });
}

/** Move the image by a distance on the screen. */
export function panView(view, dx, dy) {
  return inSight({ ...view, x: view.x + dx, y: view.y + dy });
}

/** The same scale and centre in a window of another size. */
export function resizeView(view, width, height) {
  return inSight({
    ...view,
    width,
    height,
    x: view.x + (width - view.width) / 2,
    y: view.y + (height - view.height) / 2,
  });
}

/** Pan as little as needed to have a place of the image on the screen. */
export function showPlace(view, [imageX, imageY], margin = 24) {
  const [x, y] = toScreen(view, imageX, imageY);
  const dx = Math.max(margin - x, 0) + Math.min(view.width - margin - x, 0);
  const dy = Math.max(margin - y, 0) + Math.min(view.height - margin - y, 0);
  return dx || dy ? panView(view, dx, dy) : view;
}

export const toImage = (view, x, y) => [(x - view.x) / view.scale, (y - view.y) / view.scale];

export const toScreen = (view, x, y) => [x * view.scale + view.x, y * view.scale + view.y];

function inSight(view) {
  const clamp = (at, length, window) =>
    Math.min(window - LEAST_IN_SIGHT, Math.max(LEAST_IN_SIGHT - length, at));
  return Object.freeze({
    ...view,
    x: clamp(view.x, view.imageWidth * view.scale, view.width),
    y: clamp(view.y, view.imageHeight * view.scale, view.height),
  });
}
