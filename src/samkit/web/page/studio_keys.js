/**
 * The studio's keys. Each action of the key table leads to one method of the studio's parts; buttons
 * take the same way. The crosshair, moved by the arrow keys, replaces the pointer without a mouse.
 */

import { isTyping } from "./dom.js";
import { openDecoderSettings } from "./decoder_settings.js";
import { openHelp } from "./help.js";
import { openKeySettings } from "./key_settings.js";
import { STUDIO_KEYS, actionOf, nameOf } from "./keys.js";
import { announce } from "./notices.js";
import { openSetAside } from "./set_aside.js";
import { t } from "./texts.js";
import { switchTheme } from "./theme.js";
import { showPlace, toScreen, zoomView } from "./view.js";

const ZOOM_STEP = 1.25;
const ARROW_PX = 16; // that the crosshair moves on the screen
const OPACITY_STEP = 0.1;
const BUTTON_KEYS = ["Enter", "Space", "Tab"]; // they work a focused button

export class StudioKeys {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./studio_tools.js").StudioTools} parts.tools
   * @param {import("./image_hold.js").ImageHold} parts.hold
   * @param {import("./draft_actions.js").DraftActions} parts.draft
   * @param {import("./saved_actions.js").SavedActions} parts.saved
   * @param {import("./shape_actions.js").ShapeActions} parts.shapes
   * @param {import("./image_moves.js").ImageMoves} parts.moves
   * @param {import("./attribute_panel.js").AttributePanel} parts.attributes
   * @param {import("./looks.js").Looks} parts.looks
   * @param {import("./proposal_actions.js").ProposalActions} parts.proposals
   * @param {import("./studio_panels.js").StudioPanels} parts.panels
   * @param {() => void} parts.comment asks for a comment
   */
  constructor({ state, stage, tools, hold, draft, saved, shapes, moves, attributes, looks, proposals, panels, comment }) {
    this.proposals = proposals;
    this.state = state;
    this.stage = stage;
    this.tools = tools;
    this.draft = draft;
    this.saved = saved;
    this.panels = panels;
    this.plain = {
      background: () => this.toggleBackground(),
      "radius-": () => tools.shrinkRadius(),
      "radius+": () => tools.growRadius(),
      "candidate:next": () => draft.chooseNext(),
      accept: () => draft.accept(),
      cancel: () => draft.cancel(),
      undo: () => draft.stepHistory("undo"),
      redo: () => draft.stepHistory("redo"),
      delete: () => saved.deleteSelected(),
      "class:choose": () => panels.focusClass(),
      attributes: () => panels.focusAttributes(),
      "mask:next": () => saved.selectNext(1),
      "mask:previous": () => saved.selectNext(-1),
      "mask:pick": () => this.place && saved.selectAt(this.place),
      "mask:visible": () => state.selected && saved.toggleVisible(state.selected),
      "masks:visible": () => saved.toggleAll(),
      "opacity-": () => saved.setOpacity(stage.opacity - OPACITY_STEP),
      "opacity+": () => saved.setOpacity(stage.opacity + OPACITY_STEP),
      fit: () => shapes.nextFit(),
      snap: () => draft.toggleSnap(),
      "shape:merge": () => shapes.pick("merge"),
      "shape:subtract": () => shapes.pick("subtract"),
      "shape:over": () => shapes.order("over"),
      "shape:under": () => shapes.order("under"),
      "shape:split": () => shapes.split(),
      "shape:line": () => shapes.pick("line"),
      "shape:clean": () => shapes.askToCleanUp(),
      "image:next": () => moves.go("next"),
      "image:previous": () => moves.go("previous"),
      "image:find": () => moves.ask(),
      submit: () => hold.submit(),
      skip: () => state.held && openSetAside(state.image, (act, reason) => hold.setAside(act, reason)),
      press: () => this.pressAtCrosshair(false),
      "press:background": () => this.pressAtCrosshair(true),
      "zoom+": () => this.zoom(ZOOM_STEP),
      "zoom-": () => this.zoom(1 / ZOOM_STEP),
      full: () => this.zoom(1 / stage.view.scale),
      "view:fit": () => stage.fit(),
      panel: () => panels.togglePanel(),
      strip: () => this.toggleStrip(),
      decoder: () => openDecoderSettings(draft.prompter),
      theme: () => switchTheme(),
      help: () => openHelp(STUDIO_KEYS, { change: () => openKeySettings(() => [...state.classes.values()]) }),
      comment,
      looks: () => looks.toggle(),
      proposals: () => proposals.toggle(),
      "proposals:alike": () => proposals.startAlike(),
      "proposals:words": () => proposals.askForWords(),
    };
    // What these actions do while there is a proposal to decide about.
    this.ofProposal = {
      accept: () => proposals.accept(),
      delete: () => proposals.reject(),
      cancel: () => proposals.stop(),
      undo: () => proposals.undo(),
      "mask:next": () => proposals.skip(1),
      "mask:previous": () => proposals.skip(-1),
      "proposal:correct": () => proposals.correct(),
      "proposal:all": () => proposals.acceptAll(),
    };
    this.withArgument = {
      tool: ({ what }) => tools.use(what),
      candidate: ({ what }) => draft.choose(Number(what)),
      class: ({ index }) => saved.setClass([...state.classes.keys()][index] ?? state.classId),
      attribute: ({ index }) => attributes.press(index),
      tag: ({ index }) => attributes.pressTag(index),
      move: ({ key }) => this.moveCrosshair(key),
    };
  }

  onKey(event) {
    const { draft } = this.state;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const found = actionOf(STUDIO_KEYS, event);
    if (!found) return this.chooseClass(event);
    const onButton = event.target instanceof HTMLElement && event.target.matches("button, a, input, summary, [role=option]");
    if (onButton && BUTTON_KEYS.includes(found.key)) return;
    if (onButton && found.action === "move" && event.target.matches("input")) return;
    if (found.key === "Tab" && (!draft || draft.candidates.length < 2)) return;
    event.preventDefault();
    if (found.key === "Space") {
      // Space moves the image while it is held, and accepts when it was only tapped.
      if (!event.repeat) this.state.space = { held: true, used: false };
      this.stage.element.classList.add("pannable");
    } else this.act(found);
  }

  /** Choose the class whose own key was pressed. */
  chooseClass(event) {
    const name = nameOf(event);
    const chosen = [...this.state.classes.values()].find(({ key }) => key !== "" && key === name);
    if (!chosen) return;
    event.preventDefault();
    this.saved.setClass(chosen.id);
  }

  onKeyUp(event) {
    const { state } = this;
    if (event.key !== " " || !state.space.held) return;
    const { used } = state.space;
    state.space = { held: false, used: false };
    this.stage.element.classList.remove("pannable");
    if (!used) this.act({ action: "accept" });
  }

  /** Do what a key or button stands for. */
  act({ action, index = 0, key = "" }) {
    const [verb, what] = action.split(":");
    const decide = this.proposals.isOn && this.ofProposal[action];
    if (decide) decide();
    else if (this.plain[action]) this.plain[action]();
    else this.withArgument[verb]?.({ what, index, key });
  }

  /** Where the crosshair or the pointer is in the image, if there is one. */
  get place() {
    return this.state.crosshair ?? this.state.pointer;
  }

  toggleBackground() {
    const { state } = this;
    state.background = !state.background;
    announce(state.background ? t("Background clicks.") : t("Foreground clicks."));
    this.draft.preview(null);
    state.update();
  }

  toggleStrip() {
    const { state } = this;
    state.strip = !state.strip;
    state.update();
  }

  /** Zoom around the pointer, or around the middle. */
  zoom(factor) {
    const { pointer } = this.state;
    const { view } = this.stage;
    const at = pointer && view ? toScreen(view, ...pointer) : [view.width / 2, view.height / 2];
    this.stage.look(zoomView(view, factor, ...at));
  }

  moveCrosshair(key) {
    const { state, stage } = this;
    const [height, width] = state.image.size_hw;
    const step = key.startsWith("Shift") ? 1 : Math.max(1, Math.round(ARROW_PX / stage.view.scale));
    const direction = { Up: [0, -1], Down: [0, 1], Left: [-1, 0], Right: [1, 0] }[/Arrow(\w+)$/.exec(key)[1]];
    const [x, y] = this.place ?? [width / 2, height / 2];
    const clamp = (value, most) => Math.min(most - 0.5, Math.max(0.5, value));
    state.crosshair = [clamp(Math.floor(x) + 0.5 + step * direction[0], width), clamp(Math.floor(y) + 0.5 + step * direction[1], height)];
    stage.look(showPlace(stage.view, state.crosshair));
    if (state.pressed) this.tools.current.move(this.pressOf(false));
    this.panels.showPlace(state.crosshair);
    this.draft.preview(state.crosshair);
    stage.redraw();
  }

  pressOf(secondary) {
    const xy = this.state.crosshair;
    return { xy, screen: toScreen(this.stage.view, ...xy), secondary, erase: false, select: false, touch: false, keyboard: true };
  }

  /** Click at the crosshair; tools that are held are pressed by one call and lifted by the next. */
  pressAtCrosshair(secondary) {
    const { state } = this;
    const { current } = this.tools;
    const [height, width] = state.image.size_hw;
    state.crosshair ??= state.pointer ?? [Math.floor(width / 2) + 0.5, Math.floor(height / 2) + 0.5];
    const press = this.pressOf(secondary);
    if (state.pressed) {
      state.pressed = false;
      current.up(press);
    } else {
      current.down(press);
      if (current.holds) state.pressed = true;
      else current.up(press);
    }
    state.update();
  }
}
