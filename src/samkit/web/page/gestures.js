/**
 * Pointer gestures on the stage: one finger, pen or mouse button works the tool; two fingers, the
 * middle button or Space move the image; wheel and pinch zoom. A second finger cancels what the first
 * one began. Where a pen is used it works the tool alone: one finger moves the image, and the palm of the
 * hand that draws does nothing.
 *
 * @typedef {{xy: [number, number], screen: [number, number], secondary: boolean, erase: boolean,
 *   select: boolean, touch: boolean}} Press  xy in the image
 */

import { panView, toImage, zoomView } from "./view.js";

const WHEEL_ZOOM = 0.0016; // for each unit of wheel
const WHEEL_RADIUS = 0.002; // of the brush
const PINCH_ZOOM = 0.012; // on touchpads, which send pinches as wheel with Ctrl
const LINE_PX = 16;
const PEN_ERASER = 32; // bit of `buttons`

/**
 * @param {import("./stage.js").Stage} stage
 * @param {object} handlers
 * @param {() => object} handlers.tool down, move, up, cancel
 * @param {(xy: [number, number]) => void} handlers.pick selects what is at a place, by Ctrl and click
 * @param {(press: Press | null) => void} handlers.hover null once the pointer has left
 * @param {() => boolean} handlers.spaceHeld
 * @param {() => void} handlers.spaceUsed the image was moved with Space
 * @param {(factor: number) => boolean} [handlers.resize] makes the brush larger, by Alt and the wheel; false if there is none
 */
export function listenTo(stage, { tool, pick, hover, spaceHeld, spaceUsed, resize = () => false }) {
  const { element } = stage;
  /** @type {Map<number, {x: number, y: number}>} */
  const fingers = new Map();
  let mode = null; // "tool", "pick", "pan" or "pinch"
  let owner = null; // the pointer that works the tool or pans
  let ownerType = "mouse";
  let hasPen = false;
  let last = { x: 0, y: 0 };

  const local = (event) => {
    const { left, top } = element.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const pressOf = (event) => {
    const { x, y } = local(event);
    return {
      xy: toImage(stage.view, x, y),
      screen: [x, y],
      secondary: event.button === 2 || (event.buttons & 2) !== 0 || event.altKey || event.shiftKey,
      erase: (event.buttons & PEN_ERASER) !== 0,
      select: event.ctrlKey || event.metaKey,
      touch: event.pointerType === "touch",
    };
  };
  const middle = () => {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
  };
  const usable = () => stage.view !== null;
  /** The pen comes before fingers, of which the palm may have been one. */
  const takeFromFingers = () => {
    hasPen = true;
    if (mode === null || ownerType !== "touch") return;
    if (mode === "tool") tool().cancel();
    element.classList.remove("panning");
    fingers.clear();
    mode = null;
  };

  element.addEventListener("pointerdown", (event) => {
    if (!usable()) return;
    const isTouch = event.pointerType === "touch";
    if (event.pointerType === "pen") takeFromFingers();
    if (isTouch && mode !== null && ownerType === "pen") return;
    document.getSelection()?.removeAllRanges(); // dragging selected text would end every stroke
    element.setPointerCapture(event.pointerId);
    if (isTouch) fingers.set(event.pointerId, local(event));
    if (fingers.size === 2) {
      if (mode === "tool") tool().cancel();
      element.classList.remove("panning");
      mode = "pinch";
      last = middle();
    } else if (mode === null) {
      owner = event.pointerId;
      ownerType = event.pointerType;
      if (event.button === 1 || spaceHeld() || (isTouch && hasPen)) {
        mode = "pan";
        last = local(event);
        element.classList.add("panning");
        if (event.button !== 1 && !isTouch) spaceUsed();
      } else if (pressOf(event).select) mode = "pick";
      else {
        mode = "tool";
        tool().down(pressOf(event));
      }
      stage.redraw();
    }
  });

  element.addEventListener("pointermove", (event) => {
    if (!usable()) return;
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, local(event));
    if (mode === "pinch" && fingers.size === 2) {
      const now = middle();
      const moved = panView(stage.view, now.x - last.x, now.y - last.y);
      stage.look(zoomView(moved, now.apart / Math.max(1, last.apart), now.x, now.y));
      last = now;
    } else if (mode === "pan" && event.pointerId === owner) {
      const now = local(event);
      stage.look(panView(stage.view, now.x - last.x, now.y - last.y));
      last = now;
    } else if (mode === "tool" && event.pointerId === owner) {
      const parts = event.getCoalescedEvents?.() ?? [];
      for (const part of parts.length ? parts : [event]) tool().move(pressOf(part));
      if (event.pointerType !== "touch") hover(pressOf(event));
      stage.redraw();
    } else if (mode === null && event.pointerType !== "touch") {
      hover(pressOf(event));
      stage.redraw();
    }
  });

  const lift = (event, done) => {
    fingers.delete(event.pointerId);
    if (mode === "tool" && event.pointerId === owner) {
      if (done) tool().up(pressOf(event));
      else tool().cancel();
      mode = null;
    } else if (mode === "pick" && event.pointerId === owner) {
      if (done) pick(pressOf(event).xy);
      mode = null;
    } else if (mode === "pan" && event.pointerId === owner) {
      element.classList.remove("panning");
      mode = null;
    } else if (mode === "pinch" && fingers.size === 0) mode = null;
    stage.redraw();
  };
  element.addEventListener("pointerup", (event) => usable() && lift(event, true));
  element.addEventListener("pointercancel", (event) => usable() && lift(event, false));
  element.addEventListener("pointerleave", () => {
    if (mode === null) hover(null);
    stage.redraw();
  });
  // The middle button would start scrolling.
  element.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault());
  element.addEventListener("dragstart", (event) => event.preventDefault());
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("auxclick", (event) => event.preventDefault());
  element.addEventListener("dblclick", (event) => usable() && tool().double?.(pressOf(event)));
  element.addEventListener(
    "wheel",
    (event) => {
      if (!usable()) return undefined;
      event.preventDefault();
      const { x, y } = local(event);
      const amount = event.deltaY * (event.deltaMode === 1 ? LINE_PX : 1);
      if (event.altKey && resize(Math.exp(-amount * WHEEL_RADIUS))) return stage.redraw();
      const factor = Math.exp(-amount * (event.ctrlKey ? PINCH_ZOOM : WHEEL_ZOOM));
      return stage.look(zoomView(stage.view, factor, x, y));
    },
    { passive: false },
  );
}
