/**
 * Corners of the mask at work: a drag moves one, or takes the outline where it is pressed along; a click
 * on the outline adds a corner, and a right click removes one.
 */

import { distanceTo } from "../outlines.js";
import { toScreen } from "../view.js";
import { farApart } from "./shared.js";

const CORNER_PX = 9; // on the screen
const EDGE_PX = 7;
const TOUCH = 2; // fingers reach so many times further

export class OutlineTool {
  holds = true;

  /** @param {import("../studio_tools.js").ToolActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.cancel();
  }

  down(press) {
    this.cancel();
    const rings = this.actions.rings();
    const found = this.at(press.xy, rings, press.touch ? TOUCH : 1);
    if (press.secondary || press.erase || this.actions.backgroundMode()) {
      if (found && !found.isEdge) this.actions.reshape(without(rings, found));
      return;
    }
    this.start = press;
    if (!found) return;
    this.grabbed = found;
    this.rings = found.isEdge ? withCorner(rings, found, press.xy) : rings;
  }

  move(press) {
    if (!this.grabbed || !(this.isMoved || farApart(this.start, press))) return;
    this.isMoved = true;
    const [height, width] = this.actions.size();
    const [x, y] = press.xy;
    this.rings = moved(this.rings, this.grabbed, [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))]);
  }

  up(press) {
    this.move(press);
    const { start, grabbed, isMoved, rings } = this;
    this.cancel();
    if (grabbed && (isMoved || grabbed.isEdge)) this.actions.reshape(rings);
    else if (start && !grabbed && !farApart(start, press)) this.actions.selectOther(press.xy);
  }

  cancel() {
    this.start = null;
    this.grabbed = null; // {ring, corner, isEdge}
    this.rings = null; // as they would be
    this.isMoved = false;
  }

  /** The corner at a place, else the edge, by the corner that it begins with; null if there is neither. */
  at(xy, rings, reach = 1) {
    const scale = this.actions.screenDistance([0, 0], [1, 0]);
    const nearest = { away: Infinity, found: null };
    const look = (away, limit, found) => {
      if (away * scale <= limit * reach && away < nearest.away) Object.assign(nearest, { away, found });
    };
    rings.forEach((points, ring) => points.forEach(([x, y], corner) => look(Math.hypot(x - xy[0], y - xy[1]), CORNER_PX, { ring, corner, isEdge: false })));
    if (nearest.found) return nearest.found;
    rings.forEach((points, ring) => points.forEach((point, corner) => look(distanceTo(xy, point, points[(corner + 1) % points.length]), EDGE_PX, { ring, corner: corner + 1, isEdge: true })));
    return nearest.found;
  }

  draw(context, view, pointer) {
    const rings = this.rings ?? this.actions.rings();
    const lit = this.grabbed ?? (pointer && this.at(pointer, rings));
    for (const [color, width] of [["#000a", 3.5], ["#fff", 1.5]]) {
      context.beginPath();
      for (const ring of rings) {
        ring.forEach((point, i) => (i ? context.lineTo(...toScreen(view, ...point)) : context.moveTo(...toScreen(view, ...point))));
        context.closePath();
      }
      context.lineWidth = width;
      context.strokeStyle = color;
      context.stroke();
    }
    context.lineWidth = 1;
    context.strokeStyle = "#000c";
    rings.forEach((points, ring) => points.forEach((point, corner) => {
      const [x, y] = toScreen(view, ...point);
      const isLit = lit && lit.ring === ring && lit.corner === corner && (!lit.isEdge || this.grabbed);
      const side = isLit ? 11 : 7;
      context.fillStyle = isLit ? "#7dd3fc" : "#fff";
      context.fillRect(x - side / 2, y - side / 2, side, side);
      context.strokeRect(x - side / 2, y - side / 2, side, side);
    }));
    if (pointer && lit?.isEdge && !this.grabbed) {
      const [x, y] = toScreen(view, ...pointer);
      context.beginPath();
      context.arc(x, y, 4.5, 0, 2 * Math.PI);
      context.fillStyle = "#7dd3fc";
      context.fill();
      context.stroke();
    }
  }
}

const changed = (rings, which, change) => rings.map((ring, i) => (i === which ? change(ring) : ring));
const moved = (rings, { ring, corner }, xy) => changed(rings, ring, (points) => points.map((point, i) => (i === corner ? xy : point)));
const withCorner = (rings, { ring, corner }, xy) => changed(rings, ring, (points) => [...points.slice(0, corner), xy, ...points.slice(corner)]);

/** Without a corner; a ring that would have only two is gone. */
function without(rings, { ring, corner }) {
  return changed(rings, ring, (points) => points.filter((_, i) => i !== corner)).filter((points) => points.length > 2);
}
