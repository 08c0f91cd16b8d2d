/** What the studio paints above the saved masks: the draft, its prompts, the preview, the tool. */

import { MaskLayer } from "./layers.js";
import { drawBox } from "./tools/shared.js";
import { paintStroke } from "./tools/brush.js";
import { toScreen } from "./view.js";

const DRAFT_CELLS = 2048; // the unfinished mask is drawn sharper than saved ones
const PREVIEW_OPACITY = 0.32;

export class DraftPainter {
  constructor() {
    this.layer = null;
    this.preview = null;
    this.scratch = null;
  }

  /** @param {import("./rle.js").Mask | null} mask @param {string} color */
  show(mask, color) {
    if (!mask) this.layer = null;
    else if (this.layer?.mask !== mask || this.layer.color !== color) {
      this.layer = new MaskLayer(mask, color, DRAFT_CELLS);
    }
  }

  /** The preview under the pointer: a mask at a fraction of the size of a part of the image. */
  showPreview(mask, color, box) {
    this.preview = mask && new MaskLayer(mask, color);
    this.previewBox = box;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {object} scene view, opacity, ratio, color, draft, tool, pointer, crosshair
   */
  paint(context, scene) {
    const { view, draft, tool, pointer, crosshair } = scene;
    if (this.preview && !draft) this.paintPreview(context, scene);
    if (this.layer || tool.live) this.paintMask(context, scene);
    if (draft) paintPrompts(context, view, draft.state);
    tool.draw(context, view, crosshair ?? pointer);
    if (crosshair) paintCrosshair(context, view, crosshair);
  }

  paintMask(context, { view, opacity, ratio, color, tool }) {
    const live = tool.live ?? null;
    this.layer?.build();
    if (live) {
      // Strokes must not darken where they cross the mask: both are put together opaque first.
      const scratch = this.scratchFor(context.canvas);
      const own = scratch.getContext("2d");
      own.setTransform(1, 0, 0, 1, 0, 0);
      own.clearRect(0, 0, scratch.width, scratch.height);
      own.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.layer?.drawTint(own, view, 1);
      own.globalCompositeOperation = live.erase ? "destination-out" : "source-over";
      paintStroke(own, view, live, color);
      own.globalCompositeOperation = "source-over";
      context.globalAlpha = opacity;
      context.drawImage(scratch, 0, 0, view.width, view.height);
      context.globalAlpha = 1;
    } else {
      this.layer.drawTint(context, view, opacity);
      paintLit(context, view, this.layer);
    }
  }

  paintPreview(context, { view, color }) {
    const { mask } = this.preview;
    this.preview.build();
    const [x0, y0, x1] = this.previewBox;
    const [x, y] = toScreen(view, x0, y0);
    const scaled = { ...view, x, y, scale: (view.scale * (x1 - x0)) / mask.width };
    this.preview.drawTint(context, scaled, PREVIEW_OPACITY);
    this.preview.drawOutline(context, scaled, { width: 1.5, color, dash: [5, 4] });
  }

  scratchFor({ width, height }) {
    if (this.scratch?.width !== width || this.scratch?.height !== height) {
      this.scratch = new OffscreenCanvas(width, height);
    }
    return this.scratch;
  }
}

/** Light up a mask by its outline. @param {MaskLayer} layer */
export function paintLit(context, view, layer) {
  layer.build();
  layer.drawOutline(context, view, { width: 3.5, color: "#000c" });
  layer.drawOutline(context, view, { width: 1.75, color: "#fff" });
}

export function paintPrompts(context, view, { points, labels, box }) {
  if (box) drawBox(context, view, box.slice(0, 2), box.slice(2), { dash: [] });
  points.forEach(([px, py], i) => {
    const [x, y] = toScreen(view, px + 0.5, py + 0.5);
    context.beginPath();
    context.arc(x, y, 7, 0, 2 * Math.PI);
    context.fillStyle = labels[i] ? "#15803d" : "#b91c1c";
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.moveTo(x - 3.5, y);
    context.lineTo(x + 3.5, y);
    if (labels[i]) {
      context.moveTo(x, y - 3.5);
      context.lineTo(x, y + 3.5);
    }
    context.stroke();
  });
}

function paintCrosshair(context, view, place) {
  const [x, y] = toScreen(view, ...place);
  for (const [color, width] of [["#000c", 4], ["#fff", 2]]) {
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 16 * dx, y + 16 * dy);
    }
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke();
  }
}
