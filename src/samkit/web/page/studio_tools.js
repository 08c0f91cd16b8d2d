/** The studio's tools, and which one is in use. */

import { announce } from "./notices.js";
import { BoxTool } from "./tools/box.js";
import { BrushTool } from "./tools/brush.js";
import { PointTool } from "./tools/point.js";
import { PolygonTool } from "./tools/polygon.js";
import { SelectTool } from "./tools/select.js";

const RADIUS_STEP = 1.25;
const MAX_RADIUS = 400; // image pixels

/**
 * What tools may do and ask.
 * @typedef {object} ToolActions
 * @property {() => [number, number]} size height and width of the image
 * @property {() => number} radius of the brush, in image pixels
 * @property {() => boolean} backgroundMode
 * @property {(pixel: number[], label: 0 | 1) => void} addPoint
 * @property {(box: number[], inside: boolean) => void} setBox
 * @property {(points: number[][], erase: boolean) => void} stroke
 * @property {(points: number[][], erase: boolean) => void} polygon
 * @property {(xy: number[]) => void} selectAt
 * @property {() => void} toolChanged
 * @property {(one: number[], other: number[]) => number} screenDistance
 */

export class StudioTools {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./studio_paint.js").DraftPainter} parts.painter
   * @param {Pick<ToolActions, "addPoint" | "setBox" | "stroke" | "polygon" | "selectAt">} actions
   */
  constructor({ state, stage, painter }, actions) {
    this.state = state;
    this.painter = painter;
    /** @type {ToolActions} */
    const all = {
      ...actions,
      size: () => state.image.size_hw,
      radius: () => state.radius,
      backgroundMode: () => state.background,
      toolChanged: () => state.update(),
      screenDistance: (one, other) => stage.view.scale * Math.hypot(one[0] - other[0], one[1] - other[1]),
    };
    this.polygon = new PolygonTool(all);
    this.byName = {
      point: new PointTool(all),
      box: new BoxTool(all),
      brush: new BrushTool(all, false),
      eraser: new BrushTool(all, true),
      polygon: this.polygon,
      select: new SelectTool(all),
    };
  }

  /** The tool in use; while a mask is asked for, the one that points at masks. */
  get current() {
    return this.byName[this.state.picking ? "select" : this.state.toolName];
  }

  use(name) {
    this.current.cancel();
    this.polygon.reset();
    this.state.pressed = false;
    this.state.picking = null;
    this.state.toolName = name;
    this.painter.showPreview(null);
    announce(`Tool: ${name}.`);
    this.state.update();
  }

  setRadius(radius) {
    this.state.radius = Math.min(MAX_RADIUS, Math.max(1, Math.round(radius * 10) / 10));
    this.state.update();
  }

  growRadius() {
    this.setRadius(this.state.radius * RADIUS_STEP);
  }

  shrinkRadius() {
    this.setRadius(this.state.radius / RADIUS_STEP);
  }
}
