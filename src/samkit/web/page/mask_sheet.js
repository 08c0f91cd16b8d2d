/**
 * The saved masks as one picture of the window, so that a click, a stroke or another opacity costs the
 * same for 5,000 masks as for five. Tints lie opaque on one sheet, smaller masks above larger ones,
 * and outlines on another; both are put on the screen by one call each. When a few masks change, only
 * the places where they are and were are drawn again. When the view moves, a new picture is drawn in
 * several animation frames if one is not enough, and the old one is moved and scaled meanwhile.
 */

const MAX_PATCHES = 64; // masks that change at once; with more, everything is drawn again
const AT_ONCE = 100; // masks that are drawn before a look at the clock
const BORDER_PX = 2; // of an outline, around its mask

export class MaskSheet {
  constructor() {
    this.front = null; // the finished picture: { view, layers, faint, tint, outline }
    this.pass = null; // the picture in the making, with `at`, the next layer
    this.probe = new OffscreenCanvas(1, 1).getContext("2d");
  }

  /**
   * Draw the masks.
   * @param {CanvasRenderingContext2D} context in CSS pixels
   * @param {import("./view.js").View} view
   * @param {object} what
   * @param {import("./layers.js").MaskLayer[]} what.layers the lowest first
   * @param {Set<object>} what.faint layers that are nearly transparent
   * @param {number} what.opacity
   * @param {number} what.ratio device pixels in a CSS pixel
   * @param {number} until time at which to go on in the next animation frame
   * @returns {boolean} whether the picture is complete
   */
  draw(context, view, { layers, faint, opacity, ratio }, until) {
    const wanted = { view, layers, faint, ratio };
    const changes = this.changesTo(wanted);
    if (changes === null) this.advance(wanted, until);
    else {
      this.pass = null;
      if (changes.length) this.patch(wanted, changes);
    }
    const shown = this.front ?? this.pass;
    if (shown) put(context, shown, view, opacity);
    return this.pass === null && shown?.layers === layers;
  }

  /** The layers that differ from the finished picture; null if all of it is to be drawn again. */
  changesTo({ view, layers, faint, ratio }) {
    const { front } = this;
    if (front?.view !== view || front.ratio !== ratio) return null;
    const changes = differing(front.layers, layers);
    if (front.faint !== faint) changes.push(...layers.filter((layer) => faint.has(layer) !== front.faint.has(layer)));
    return changes.length > MAX_PATCHES ? null : changes;
  }

  /** Draw everything anew, as far as there is time. */
  advance(wanted, until) {
    const { pass } = this;
    // Masks that change meanwhile wait for the end: begun anew each time, it would never come.
    const goesOn = pass && pass.view === wanted.view && pass.ratio === wanted.ratio;
    if (!goesOn) this.pass = { ...wanted, ...blank(wanted.view, wanted.ratio, pass), at: 0 };
    const current = this.pass;
    if (this.front && performance.now() >= until) return;
    while (current.at < current.layers.length) {
      const stop = Math.min(current.at + AT_ONCE, current.layers.length);
      for (; current.at < stop; current.at += 1) drawLayer(current, current.layers[current.at]);
      this.settle(current);
      if (performance.now() > until && current.at < current.layers.length) return;
    }
    this.front = current;
    this.pass = null;
  }

  /** Have the browser paint what it has only noted: all of it at the end would hold up a frame. */
  settle({ tint, outline }) {
    for (const { canvas } of [tint, outline]) this.probe.drawImage(canvas, 0, 0, 1, 1, 0, 0, 1, 1);
  }

  /** Draw again where masks have changed. */
  patch({ layers, faint }, changes) {
    const { front } = this;
    Object.assign(front, { layers, faint });
    for (const layer of changes) layer.build();
    for (const layer of changes) {
      const place = layer.place(front.view);
      if (place) redraw(front, place);
    }
  }
}

/** What only one of two lists has: nearly always they begin and end alike. */
function differing(one, other) {
  let start = 0;
  while (start < one.length && one[start] === other[start]) start += 1;
  let [last, otherLast] = [one.length, other.length];
  while (last > start && otherLast > start && one[last - 1] === other[otherLast - 1]) [last, otherLast] = [last - 1, otherLast - 1];
  const [before, after] = [new Set(one.slice(start, last)), new Set(other.slice(start, otherLast))];
  return [...[...before].filter((layer) => !after.has(layer)), ...[...after].filter((layer) => !before.has(layer))];
}

/** Two empty sheets, those of a picture that was given up if they fit. */
function blank({ width, height }, ratio, given) {
  const sheet = (old) => {
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    const canvas = old?.canvas.width === w && old.canvas.height === h ? old.canvas : new OffscreenCanvas(w, h);
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, w, h);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return context;
  };
  return { tint: sheet(given?.tint), outline: sheet(given?.outline) };
}

const FAINT = 0.1;

function drawLayer({ view, faint, tint, outline }, layer) {
  layer.build();
  layer.drawTint(tint, view, faint.has(layer) ? FAINT : 1);
  layer.drawOutline(outline, view);
}

/** Draw what lies in a place of the window again. */
function redraw(picture, [x, y, width, height]) {
  const { view, layers, tint, outline, ratio } = picture;
  // At the edges of device pixels, or a seam would show.
  const left = Math.floor((x - BORDER_PX) * ratio) / ratio;
  const top = Math.floor((y - BORDER_PX) * ratio) / ratio;
  const right = Math.ceil((x + width + BORDER_PX) * ratio) / ratio;
  const bottom = Math.ceil((y + height + BORDER_PX) * ratio) / ratio;
  for (const sheet of [tint, outline]) {
    sheet.save();
    sheet.beginPath();
    sheet.rect(left, top, right - left, bottom - top);
    sheet.clip();
    sheet.clearRect(left, top, right - left, bottom - top);
  }
  for (const layer of layers) {
    const place = layer.place(view);
    if (!place) continue;
    const [ox, oy, w, h] = place;
    const apart = ox > right || oy > bottom || ox + w < left || oy + h < top;
    if (!apart) drawLayer(picture, layer);
  }
  for (const sheet of [tint, outline]) sheet.restore();
}

/** Put a picture on the screen, moved and scaled if it was drawn for another view. */
function put(context, { view: own, tint, outline }, view, opacity) {
  const scale = view.scale / own.scale;
  const place = [view.x - own.x * scale, view.y - own.y * scale, own.width * scale, own.height * scale];
  context.imageSmoothingEnabled = false; // drawn pixel by pixel, or on the way to a sharp picture
  context.globalAlpha = opacity;
  context.drawImage(tint.canvas, ...place);
  context.globalAlpha = 1;
  context.drawImage(outline.canvas, ...place);
  context.imageSmoothingEnabled = true;
}
