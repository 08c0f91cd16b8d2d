/** The studio's tools, and which one is in use. */

import { announce } from "./notices.js";
import { t } from "./texts.js";
import { BoxTool } from "./tools/box.js";
import { BrushTool } from "./tools/brush.js";
import { LineTool } from "./tools/line.js";
import { OutlineTool } from "./tools/outline.js";
import { PointTool } from "./tools/point.js";
import { PolygonTool } from "./tools/polygon.js";
import { SelectTool } from "./tools/select.js";
import { TOOL_WORDS } from "./words.js";

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
 * @property {(points: number[][]) => void} line
 * @property {(index: number, pixel: number[]) => void} movePoint
 * @property {(index: number) => void} removePoint
 * @property {() => void} removeBox
 * @property {() => {points: number[][], box: number[] | null}} prompts
 * @property {() => number[][][]} rings of the mask at work
 * @property {(rings: number[][][]) => void} reshape
 * @property {(xy: number[]) => void} selectOther
 * @property {(direction: 1 | -1) => void} changeDetail
 * @property {() => void} toolChanged
 * @property {(one: number[], other: number[]) => number} screenDistance
 */

export class StudioTools {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./studio_paint.js").DraftPainter} parts.painter
   * @param {Omit<ToolActions, "size" | "radius" | "backgroundMode" | "prompts" | "toolChanged" | "screenDistance">} actions
   */
  constructor({ state, stage, painter }, actions) {
    this.state = state;
    this.painter = painter;
    this.actions = actions;
    /** @type {ToolActions} */
    const all = {
      ...actions,
      size: () => state.image.size_hw,
      radius: () => state.radius,
      backgroundMode: () => state.background,
      prompts: () => state.draft?.state ?? { points: [], box: null },
      toolChanged: () => state.update(),
      screenDistance: (one, other) => stage.view.scale * Math.hypot(one[0] - other[0], one[1] - other[1]),
    };
    this.polygon = new PolygonTool(all);
    this.line = new LineTool(all);
    this.byName = {
      point: new PointTool(all),
      box: new BoxTool(all),
      brush: new BrushTool(all, false),
      eraser: new BrushTool(all, true),
      polygon: this.polygon,
      outline: new OutlineTool(all),
      select: new SelectTool(all),
    };
  }

  /** The tool in use; while a mask or a line is asked for, the one that gives it. */
  get current() {
    const { picking, toolName } = this.state;
    if (picking === "line") return this.line;
    return this.byName[picking ? "select" : toolName];
  }

  /** What is drawn corner by corner. */
  get drawn() {
    return this.state.picking === "line" ? this.line : this.polygon;
  }

  use(name) {
    this.current.cancel();
    this.drawn.reset();
    this.state.pressed = false;
    this.state.picking = null;
    this.state.toolName = name;
    this.painter.showPreview(null);
    announce(t("Tool: {name}.", { name: TOOL_WORDS[name] }));
    this.state.update();
  }

  setRadius(radius) {
    this.state.radius = Math.min(MAX_RADIUS, Math.max(1, Math.round(radius * 10) / 10));
    this.state.update();
  }

  /** A larger brush; fewer corners of the outline. */
  growRadius() {
    if (this.state.toolName === "outline") this.actions.changeDetail(1);
    else this.setRadius(this.state.radius * RADIUS_STEP);
  }

  shrinkRadius() {
    if (this.state.toolName === "outline") this.actions.changeDetail(-1);
    else this.setRadius(this.state.radius / RADIUS_STEP);
  }
}
