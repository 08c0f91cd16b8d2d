/** Rulers along the upper and left edge of the stage, in pixels of the image. */

const WIDTH = 18;
const APART_PX = 64; // at least, from one number to the next
const STEPS = [1, 2, 5];

/** The distance of two numbers, in image pixels, that is a round number and far enough apart on the screen. */
export function rulerStep(scale) {
  for (let power = 1; ; power *= 10) {
    for (const step of STEPS) if (step * power * scale >= APART_PX) return step * power;
  }
}

/** @param {CanvasRenderingContext2D} context in CSS pixels @param {import("./view.js").View} view @param {number[] | null} pointer in the image */
export function drawRulers(context, view, pointer) {
  const step = rulerStep(view.scale);
  const colours = getComputedStyle(context.canvas);
  const [ink, ground] = [colours.getPropertyValue("--text") || "#222", colours.getPropertyValue("--surface") || "#fff"];
  context.save();
  context.font = "10px system-ui, sans-serif";
  for (const [length, across, origin, size, at] of [
    [view.width, false, view.x, view.imageWidth, pointer?.[0]],
    [view.height, true, view.y, view.imageHeight, pointer?.[1]],
  ]) {
    context.save();
    if (across) context.transform(0, 1, 1, 0, 0, 0); // x and y change places
    context.globalAlpha = 0.85;
    context.fillStyle = ground;
    context.fillRect(0, 0, length, WIDTH);
    context.globalAlpha = 1;
    context.strokeStyle = ink;
    context.fillStyle = ink;
    context.lineWidth = 1;
    context.beginPath();
    const first = Math.max(0, Math.ceil((WIDTH - origin) / view.scale / step) * step);
    const last = Math.min(size, (length - origin) / view.scale);
    for (let value = first; value <= last; value += step) {
      const place = Math.round(value * view.scale + origin) + 0.5;
      context.moveTo(place, WIDTH - 6);
      context.lineTo(place, WIDTH);
      for (let part = 1; part < 5 && value + (part * step) / 5 <= size; part++) {
        const small = Math.round((value + (part * step) / 5) * view.scale + origin) + 0.5;
        context.moveTo(small, WIDTH - 3);
        context.lineTo(small, WIDTH);
      }
    }
    context.stroke();
    if (at !== undefined) {
      context.strokeStyle = "#e5484d";
      context.beginPath();
      context.moveTo(at * view.scale + origin, 0);
      context.lineTo(at * view.scale + origin, WIDTH);
      context.stroke();
    }
    context.restore();
    for (let value = first; value <= last; value += step) {
      const place = value * view.scale + origin + 3;
      context.save();
      if (across) {
        context.translate(9, place);
        context.rotate(Math.PI / 2);
        context.fillStyle = ink;
        context.fillText(String(value), 0, 0);
      } else {
        context.fillStyle = ink;
        context.fillText(String(value), place, 9);
      }
      context.restore();
    }
  }
  context.restore();
}
