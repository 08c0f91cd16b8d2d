/**
 * The keys of the studio, and what buttons and keys stand for: each action of the key table leads to
 * a method of the studio. The crosshair, which arrow keys move, is the pointer of who has no mouse.
 */

import { isTyping } from "./dom.js";
import { openHelp } from "./help.js";
import { STUDIO_KEYS, actionOf } from "./keys.js";
import { announce } from "./notices.js";
import { switchTheme } from "./theme.js";
import { showPlace, toScreen, zoomView } from "./view.js";

const RADIUS_STEP = 1.25;
const ZOOM_STEP = 1.25;
const ARROW_PX = 16; // that the crosshair moves on the screen
const OPACITY_STEP = 0.1;

export class StudioKeys {
  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
  }

  onKey(event) {
    const { studio } = this;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const found = actionOf(STUDIO_KEYS, event);
    if (!found) return;
    const onButton = event.target instanceof HTMLElement && event.target.matches("button, a, input, summary, [role=option]");
    if (onButton && ["Enter", "Space", "Tab"].includes(found.key)) return; // they work the button
    if (onButton && found.action === "move" && event.target.matches("input")) return;
    if (found.key === "Tab" && studio.draft?.candidates.length < 2) return;
    if (found.key === "Tab" && !studio.draft) return;
    event.preventDefault();
    if (found.key === "Space") {
      // Space moves the image while it is held, and accepts when it was only tapped.
      if (!event.repeat) studio.space = { held: true, used: false };
      studio.stage.element.classList.add("pannable");
    } else this.act(found, event);
  }

  onKeyUp(event) {
    const { studio } = this;
    if (event.key !== " " || !studio.space.held) return;
    const { used } = studio.space;
    studio.space = { held: false, used: false };
    studio.stage.element.classList.remove("pannable");
    if (!used) studio.accept();
  }

  /** Do what a key or button stands for. */
  act({ action, index = 0, key = "" }) {
    const { studio } = this;
    const [verb, what] = action.split(":");
    const { stage } = studio;
    const middle = stage.view && [stage.view.width / 2, stage.view.height / 2];
    const zoomAt = studio.pointer && stage.view ? toScreen(stage.view, ...studio.pointer) : middle;
    const item = studio.draft?.kept?.item;
    if (verb === "tool") studio.setTool(what);
    else if (verb === "candidate") studio.choose(what === "next" ? ((studio.draft?.chosen ?? 0) + 1) % (studio.draft?.candidates.length || 1) : Number(what));
    else if (action === "class:n") studio.setClass([...studio.classes.keys()][index] ?? studio.classId);
    else if (action === "mask:next") studio.selectNext(1);
    else if (action === "mask:previous") studio.selectNext(-1);
    else if (action === "mask:pick" && (studio.crosshair ?? studio.pointer)) studio.selectAt(studio.crosshair ?? studio.pointer);
    else if (action === "mask:visible" && item) studio.toggleVisible(item);
    else if (action === "move") this.moveCrosshair(key);
    else if (verb === "press") this.pressAtCrosshair(what === "background");
    else if (action === "zoom+" || action === "zoom-") stage.look(zoomView(stage.view, action === "zoom+" ? ZOOM_STEP : 1 / ZOOM_STEP, ...zoomAt));
    else if (action === "full") stage.look(zoomView(stage.view, 1 / stage.view.scale, ...zoomAt));
    else {
      const plain = {
        background: () => {
          studio.background = !studio.background;
          announce(studio.background ? "Background clicks." : "Foreground clicks.");
          studio.preview(null);
          studio.update();
        },
        "radius-": () => studio.setRadius(studio.radius / RADIUS_STEP),
        "radius+": () => studio.setRadius(studio.radius * RADIUS_STEP),
        accept: () => studio.accept(),
        cancel: () => studio.cancel(),
        undo: () => studio.travel("undo"),
        redo: () => studio.travel("redo"),
        delete: () => studio.deleteSelected(),
        "class:choose": () => studio.panels.focusClass(),
        "masks:visible": () => studio.toggleAll(),
        "opacity-": () => studio.setOpacity(stage.opacity - OPACITY_STEP),
        "opacity+": () => studio.setOpacity(stage.opacity + OPACITY_STEP),
        submit: () => studio.submit(),
        fit: () => stage.fit(),
        panel: () => studio.panels.togglePanel(),
        theme: () => switchTheme(),
        help: () => openHelp(STUDIO_KEYS),
      };
      plain[action]?.();
    }
  }

  moveCrosshair(key) {
    const { studio } = this;
    const { view } = studio.stage;
    const [height, width] = studio.image.size_hw;
    const step = key.startsWith("Shift") ? 1 : Math.max(1, Math.round(ARROW_PX / view.scale));
    const direction = { Up: [0, -1], Down: [0, 1], Left: [-1, 0], Right: [1, 0] }[/Arrow(\w+)$/.exec(key)[1]];
    const [x, y] = studio.crosshair ?? studio.pointer ?? [width / 2, height / 2];
    const clamp = (value, most) => Math.min(most - 0.5, Math.max(0.5, value));
    studio.crosshair = [clamp(Math.floor(x) + 0.5 + step * direction[0], width), clamp(Math.floor(y) + 0.5 + step * direction[1], height)];
    studio.stage.look(showPlace(view, studio.crosshair));
    if (studio.pressed) studio.tool.move(this.pressOf(false));
    studio.panels.showPlace(studio.crosshair);
    studio.preview(studio.crosshair);
    studio.stage.redraw();
  }

  pressOf(secondary) {
    const { studio } = this;
    const xy = studio.crosshair;
    return { xy, screen: toScreen(studio.stage.view, ...xy), secondary, erase: false, select: false, touch: false, keyboard: true };
  }

  pressAtCrosshair(secondary) {
    const { studio } = this;
    const [height, width] = studio.image.size_hw;
    studio.crosshair ??= studio.pointer ?? [Math.floor(width / 2) + 0.5, Math.floor(height / 2) + 0.5];
    const press = this.pressOf(secondary);
    if (studio.pressed) {
      studio.pressed = false;
      studio.tool.up(press);
    } else {
      studio.tool.down(press);
      if (studio.tool.holds) studio.pressed = true;
      else studio.tool.up(press);
    }
    studio.update();
  }
}
