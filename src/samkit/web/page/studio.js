/**
 * The studio: one image, its kept masks, and the draft at work. This file holds the studio's state
 * and the actions that change it; each action ends in `update`, from which the panels and the stage
 * are drawn. Pointers, keys and buttons all come to the same actions.
 */

import { ApiError, OFFLINE, get, getItems, isReviewer, post, remove } from "./api.js";
import { WorkClock } from "./clock.js";
import { el, plural } from "./dom.js";
import { Draft } from "./draft.js";
import { listenTo } from "./gestures.js";
import { promptsOf } from "./history.js";
import { KeptMasks } from "./kept.js";
import { announce, banner, clearBanners, notify, notifyError } from "./notices.js";
import { ImageLevels } from "./image.js";
import { areaOf, hasPixel } from "./rle.js";
import { PromptSocket } from "./socket.js";
import { Stage } from "./stage.js";
import { StudioKeys } from "./studio_keys.js";
import { DraftPainter } from "./studio_paint.js";
import { StudioPanels } from "./studio_panels.js";
import { tellLost, tellRefused } from "./studio_troubles.js";
import { BoxTool } from "./tools/box.js";
import { BrushTool } from "./tools/brush.js";
import { PointTool } from "./tools/point.js";
import { PolygonTool } from "./tools/polygon.js";
import { SelectTool } from "./tools/select.js";
import { pixelOf } from "./tools/shared.js";

const RENEW_MS = 60_000;

/** @typedef {Studio["toolActions"]} ToolActions */

export class Studio {
  /** @param {number} imageId @param {{outbox: import("./outbox.js").Outbox, status: object}} app */
  constructor(imageId, { outbox, status }) {
    this.imageId = imageId;
    this.outbox = outbox;
    this.status = status;
    this.image = null;
    this.project = null;
    this.held = false;
    this.classes = new Map();
    this.classId = null;
    this.draft = null;
    this.toolName = "point";
    this.background = false;
    this.radius = 12;
    this.pointer = null; // in the image
    this.crosshair = null; // of the keyboard
    this.pressed = false; // the keyboard holds the tool down
    this.encoded = false;
    this.hintShown = false;
    this.acceptWhenAnswered = false;
    this.space = { held: false, used: false };
    this.clock = new WorkClock();
    this.painter = new DraftPainter();
    this.kept = new KeptMasks(imageId, outbox, () => this.classes);
    this.stage = new Stage({ label: "Image. Arrow keys move the crosshair, F clicks. Press ? for all keys." });
    this.tools = this.makeTools();
    this.keys = new StudioKeys(this);
    this.panels = new StudioPanels(this);
    this.element = this.panels.element;
    this.listen();
  }

  /** Open the image. @throws {ApiError} there is no such image */
  async open() {
    this.image = await get(`images/${this.imageId}`);
    this.stage.show(new ImageLevels(this.image, () => this.stage.repaint()));
    this.update();
    const picture = this.stage.levels.start().catch(notifyError);
    this.project = await get(`projects/${this.image.project_id}`);
    const classes = await getItems(`projects/${this.project.id}/classes`);
    this.classes = new Map(classes.map((one) => [one.id, one]));
    this.classId = this.rememberedClass();
    if (!this.outbox.isEmpty) await this.outbox.send();
    await this.hold();
    await this.kept.load();
    this.connect();
    this.renewal = setInterval(() => this.held && this.hold({ renewing: true }), RENEW_MS);
    this.seconds = setInterval(() => this.checkHint(), 1000);
    if (this.image.review === "returned" && this.image.comment) {
      banner("comment", `Returned by the reviewer: “${this.image.comment}”`, [
        { label: "Understood", act: () => banner("comment", null) },
      ]);
    }
    await picture;
    this.clock.lap();
    this.update();
  }

  /** Leave: what waits in the outbox stays there. */
  close() {
    this.closed = true;
    clearInterval(this.renewal);
    clearInterval(this.seconds);
    this.socket?.close();
    this.stage.close();
    this.kept.close();
    this.clock.close();
    for (const [target, type, listener] of this.listeners) target.removeEventListener(type, listener);
    clearBanners();
    if (this.held && !this.outbox.holds(this.imageId)) remove(`images/${this.imageId}/lease`).catch(() => {});
  }

  /** The session had ended, and somebody has signed in again. */
  connectAgain() {
    this.socket?.retryNow();
    this.hold({ renewing: true });
  }

  /** Whether there is a mask at work or a kept one is selected. */
  get atWork() {
    return this.draft !== null && (this.draft.changed || this.draft.kept !== null);
  }

  /** Whether leaving would lose work. */
  get busy() {
    return this.draft?.changed === true;
  }

  // ---- what is drawn from the state

  update() {
    if (this.closed) return;
    const { draft } = this;
    this.painter.show(draft?.mask ?? null, this.draftColor());
    this.stage.items = this.kept.present
      .filter(({ key, visible }) => visible && key !== this.selectedKey)
      .sort((a, b) => areaOf(b.mask) - areaOf(a.mask)) // small ones lie above
      .map((kept) => ({ layer: this.kept.layerOf(kept), tint: draft?.changed ? 0.5 : 1 }));
    this.panels.update();
    this.stage.redraw();
  }

  draftColor() {
    const { kept } = this.draft ?? {};
    const number = kept ? kept.item.number : this.kept.all.length + 1;
    return this.kept.colorOf({ classId: this.classId, number });
  }

  get selectedKey() {
    return this.draft?.kept?.item.key ?? null;
  }

  get tool() {
    return this.tools[this.toolName];
  }

  // ---- the image: hold, submit, next

  async hold({ renewing = false } = {}) {
    try {
      const lease = await post(`images/${this.imageId}/lease`);
      this.image = lease.image;
      this.held = true;
      banner("lease", null);
    } catch (error) {
      if (error.status === OFFLINE || error.status === 401) return;
      this.held = false;
      const what = renewing ? "You no longer hold this image" : "You can look at this image, not change it";
      banner("lease", `${what}: ${error.message}`, [
        { label: "Try again", act: () => this.hold({ renewing }).then(() => this.update()), primary: true },
        { label: "Next image", act: () => this.next() },
      ]);
    }
    this.update();
  }

  async submit() {
    if (!this.held) return notify("You do not hold this image.", "bad");
    if (this.busy) return notify("Accept or cancel the mask at work first.", "bad");
    await this.outbox.send();
    if (this.outbox.holds(this.imageId)) return notify("Some masks are not saved yet. They are sent as soon as the server answers.", "bad");
    try {
      if (this.reviewing) {
        const image = await get(`images/${this.imageId}`);
        await post(`images/${this.imageId}/accept`, { version: image.version });
        this.held = false;
        location.hash = `#/project/${this.project.id}/review`;
        return undefined;
      }
      await post(`images/${this.imageId}/submit`);
      this.held = false;
      notify(`Submitted with ${plural(this.kept.present.length, "mask")}.`, "good");
      return await this.next();
    } catch (error) {
      return notifyError(error);
    }
  }

  /** Whether a reviewer fixes a submitted image here. */
  get reviewing() {
    return isReviewer() && ["submitted", "accepted"].includes(this.image?.review);
  }

  async next() {
    try {
      const { lease } = await post(`projects/${this.project.id}/next`);
      if (lease) location.hash = `#/image/${lease.image.id}`;
      else {
        notify("All images are done. Thank you!", "good");
        location.hash = `#/project/${this.project.id}`;
      }
    } catch (error) {
      notifyError(error);
    }
  }

  // ---- the connection to the model

  connect() {
    const socket = new PromptSocket(this.imageId);
    this.socket = socket;
    socket.addEventListener("ready", () => {
      this.encoded = true;
      this.update();
    });
    socket.addEventListener("masks", ({ detail: { id, answer } }) => this.takeAnswer(id, answer));
    socket.addEventListener("preview", ({ detail: { mask } }) => {
      if (this.atWork || !(this.crosshair ?? this.pointer)) return;
      this.painter.showPreview(mask, this.draftColor());
      this.stage.redraw();
    });
    socket.addEventListener("fault", ({ detail }) => {
      notify(detail.detail, "bad");
      if (this.draft?.state.question?.id === detail.id) this.draft.undo();
      this.update();
    });
    socket.addEventListener("lost", ({ detail: { code } }) => tellLost(this, code));
    socket.addEventListener("back", () => {
      banner("connection", null);
      notify("Connected again.", "good");
      this.outbox.send();
      this.hold({ renewing: true });
      const question = this.draft?.questionAfresh();
      if (question) socket.ask(question);
    });
  }

  takeAnswer(id, answer) {
    this.draft?.take(id, answer);
    if (this.draft?.state.question?.id !== id) return;
    const { candidates, chosen } = this.draft;
    const which = candidates.length > 1 ? `${plural(candidates.length, "candidate")}, number ${chosen + 1} is shown. ` : "";
    announce(`${which}Mask of ${plural(areaOf(this.draft.mask), "pixel")}.`);
    this.update();
    if (this.acceptWhenAnswered) this.accept();
  }

  // ---- the draft

  /** The draft to change, a new one if there is none; null if the image is not held. */
  draftForChange() {
    if (!this.held) {
      notify("You do not hold this image, so it cannot be changed.", "bad");
      return null;
    }
    this.painter.showPreview(null);
    this.socket?.dropPreview();
    this.acceptWhenAnswered = false;
    if (!this.draft) {
      this.draft = new Draft(this.image.size_hw);
      this.hintShown = false;
    }
    return this.draft;
  }

  askModel() {
    if (this.draft.waits) this.socket?.ask(this.draft.state.question);
    this.update();
  }

  addPoint(pixel, label) {
    const draft = this.draftForChange();
    if (!draft) return;
    draft.addPoint(pixel, label, this.clock.lap());
    this.askModel();
  }

  setBox(box, inside) {
    const draft = this.draftForChange();
    if (!draft) return;
    draft.setBox(box, this.clock.lap(), inside ? 1 : 0);
    this.askModel();
  }

  stroke(points, erase) {
    if (erase && !this.draft) return;
    const draft = this.draftForChange();
    if (!draft) return;
    draft.stroke(points, this.radius, erase, this.clock.lap());
    this.update();
  }

  polygon(points, erase) {
    if (erase && !this.draft) return;
    const draft = this.draftForChange();
    if (!draft) return;
    draft.polygon(points, erase, this.clock.lap());
    this.update();
  }

  choose(candidate) {
    if (this.draft?.choose(candidate, this.clock.lap())) {
      announce(`Candidate ${candidate + 1} of ${this.draft.candidates.length}.`);
      this.update();
    }
  }

  accept() {
    const { draft } = this;
    if (this.tools.polygon.close()) return;
    if (!draft) return;
    if (draft.waits) {
      this.acceptWhenAnswered = true; // as soon as it is there
      return;
    }
    this.acceptWhenAnswered = false;
    const { classId } = this;
    if (draft.kept) {
      const { item } = draft.kept;
      if (draft.isEmpty) notify("Nothing is left of the mask: delete it, or undo.", "bad");
      else {
        const events = this.withModel(draft.state.events);
        const changed = draft.changed && (draft.differs || item.classId !== classId);
        if (changed) this.kept.replace(item, { mask: draft.mask, classId, events });
        this.draft = null;
        announce(`Mask ${item.number} is saved.`);
      }
    } else if (draft.isEmpty) {
      notify("The mask is empty: click again, or press Esc.", "bad");
    } else {
      const { number } = this.kept.add({ mask: draft.mask, classId, events: this.withModel(draft.state.events), score: draft.score });
      this.draft = null;
      announce(`Mask ${number} is accepted.`);
    }
    this.clock.lap();
    banner("hint", null);
    this.update();
  }

  /** Events with the version of the model that answered them. */
  withModel(events) {
    const id = this.socket?.modelVersionId ?? null;
    const asked = ["point", "box", "choose"];
    return events.map((event) => (asked.includes(event.kind) && id !== null ? { ...event, model_version_id: id } : event));
  }

  cancel() {
    if (this.pressed || this.tools.polygon.reset()) {
      this.tool.cancel();
      this.pressed = false;
    } else if (this.draft) {
      announce(this.draft.kept ? "Let go of the mask." : "The mask is cancelled.");
      this.draft = null;
      banner("hint", null);
    } else this.crosshair = null;
    this.acceptWhenAnswered = false;
    this.update();
  }

  async travel(kind) {
    if (kind === "undo" && this.tools.polygon.undo()) return this.update();
    if (this.draft && (kind === "undo" ? this.draft.undo() : this.draft.redo())) {
      this.acceptWhenAnswered = false;
      if (this.draft.waits) this.socket?.ask(this.draft.questionAfresh());
      if (!this.draft.changed && !this.draft.kept && !this.draft.history.canRedo) this.draft = null;
      announce(kind === "undo" ? "Undone." : "Done again.");
      return this.update();
    }
    if (this.draft?.kept) this.draft = null;
    else if (this.draft && kind === "redo") return undefined;
    if (!this.held) return undefined;
    if (kind === "undo") this.draft = null; // back at its beginning: on to the kept masks
    try {
      const kept = await this.kept.travel(kind);
      announce(kept ? `${kind === "undo" ? "Undone" : "Done again"}: mask ${kept.number}.` : `Nothing to ${kind}.`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify(`Kept masks cannot be changed back now. ${error.message}`, "bad");
    }
    return this.update();
  }

  checkHint() {
    const after = this.status.hint_after_s ?? 30;
    if (!this.draft?.changed || this.hintShown) return;
    if (performance.now() - this.draft.startedAt < after * 1000) return;
    this.hintShown = true;
    banner("hint", `${after} seconds on this mask. Accept it as it is, or cancel it and move on: another mask is worth more.`, [
      { label: "Accept", act: () => this.accept(), primary: true },
      { label: "Cancel", act: () => this.cancel() },
    ], "info");
  }

  // ---- kept masks

  selectAt([x, y]) {
    const hits = this.kept.present.filter(({ mask, visible }) => visible && hasPixel(mask, Math.floor(x), Math.floor(y)));
    const smallest = hits.sort((a, b) => areaOf(a.mask) - areaOf(b.mask))[0];
    if (smallest) this.select(smallest);
  }

  /** Take a kept mask up again, to correct it. */
  async select(item) {
    if (this.busy) return notify("Accept or cancel the mask at work first.", "bad");
    if (item.key === this.selectedKey) return undefined;
    const draft = new Draft(this.image.size_hw, { mask: item.mask, item, events: [] });
    this.draft = draft;
    this.classId = item.classId;
    this.hintShown = false;
    this.painter.showPreview(null);
    announce(`Mask ${item.number} is selected, ${this.classes.get(item.classId)?.name ?? "without a class"}.`);
    this.update();
    if (item.id === null || item.saving) return undefined;
    // Its prompts come a moment later; until then it can be corrected as a plain mask.
    try {
      const [revisions, events] = await Promise.all([getItems(`annotations/${item.id}/history`), getItems(`annotations/${item.id}/events`)]);
      if (this.draft !== draft || draft.history.canUndo || draft.history.canRedo) return undefined;
      this.draft = new Draft(this.image.size_hw, { mask: item.mask, item, events: promptsOf(revisions, events) });
      this.update();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // without its prompts it is a plain mask
    }
    return undefined;
  }

  selectNext(step) {
    const { present } = this.kept;
    if (!present.length) return;
    const at = present.findIndex(({ key }) => key === this.selectedKey);
    const from = at < 0 && step < 0 ? 0 : at;
    this.select(present[(from + step + present.length) % present.length]);
  }

  deleteSelected() {
    const item = this.draft?.kept?.item;
    if (item) this.deleteMask(item);
  }

  deleteMask(item) {
    if (!this.held) return;
    if (item.key === this.selectedKey) this.draft = null;
    this.kept.remove(item);
    announce(`Mask ${item.number} is deleted. Ctrl+Z brings it back.`);
    this.update();
  }

  toggleVisible(item) {
    item.visible = !item.visible;
    this.update();
  }

  toggleAll() {
    this.stage.showMasks = !this.stage.showMasks;
    this.update();
  }

  setOpacity(value) {
    this.stage.opacity = Math.min(1, Math.max(0.1, value));
    this.update();
  }

  setClass(classId) {
    this.classId = classId;
    const item = this.draft?.kept?.item;
    if (item && this.held && item.classId !== classId && !this.draft.changed) {
      const events = [{ kind: "class", data: { class_id: classId }, duration_ms: this.clock.lap() }];
      this.kept.replace(item, { mask: item.mask, classId, events });
    }
    try {
      localStorage.setItem(`samkit.class.${this.project.id}`, classId ?? "");
    } catch {
      // not remembered
    }
    announce(`Class: ${this.classes.get(classId)?.name ?? "none"}.`);
    this.update();
  }

  async addClass(name) {
    try {
      const added = await post(`projects/${this.project.id}/classes`, { name });
      this.classes = new Map(this.classes).set(added.id, added);
      this.setClass(added.id);
    } catch (error) {
      notifyError(error);
    }
  }

  rememberedClass() {
    try {
      const id = Number(localStorage.getItem(`samkit.class.${this.project.id}`));
      return this.classes.has(id) ? id : null;
    } catch {
      return null;
    }
  }

  // ---- tools

  makeTools() {
    const actions = {
      size: () => this.image.size_hw,
      radius: () => this.radius,
      backgroundMode: () => this.background,
      addPoint: (pixel, label) => this.addPoint(pixel, label),
      setBox: (box, inside) => this.setBox(box, inside),
      stroke: (points, erase) => this.stroke(points, erase),
      polygon: (points, erase) => this.polygon(points, erase),
      selectAt: (xy) => this.selectAt(xy),
      toolChanged: () => this.update(),
      screenDistance: (one, other) => this.stage.view.scale * Math.hypot(one[0] - other[0], one[1] - other[1]),
    };
    this.toolActions = actions;
    return {
      point: new PointTool(actions),
      box: new BoxTool(actions),
      brush: new BrushTool(actions, false),
      eraser: new BrushTool(actions, true),
      polygon: new PolygonTool(actions),
      select: new SelectTool(actions),
    };
  }

  setTool(name) {
    this.tool.cancel();
    this.tools.polygon.reset();
    this.pressed = false;
    this.toolName = name;
    this.painter.showPreview(null);
    announce(`Tool: ${name}.`);
    this.update();
  }

  setRadius(radius) {
    this.radius = Math.min(400, Math.max(1, Math.round(radius * 10) / 10));
    this.update();
  }

  hover(press) {
    this.pointer = press?.xy ?? null;
    if (press) this.crosshair = null;
    this.panels.showPlace(this.pointer);
    this.preview(this.pointer);
  }

  preview(xy) {
    const pixel = xy && pixelOf(xy, this.image.size_hw);
    const wanted = pixel && this.toolName === "point" && !this.atWork && this.held && !this.background;
    if (wanted) this.socket?.askPreview(pixel);
    else {
      this.socket?.dropPreview();
      this.painter.showPreview(null);
    }
  }

  listen() {
    listenTo(this.stage, {
      tool: () => this.tool,
      hover: (press) => this.hover(press),
      spaceHeld: () => this.space.held,
      spaceUsed: () => {
        this.space.used = true;
      },
    });
    this.stage.paint = (context, view) =>
      this.painter.paint(context, {
        view,
        opacity: this.stage.opacity,
        ratio: this.stage.ratio,
        color: this.draftColor(),
        draft: this.atWork ? this.draft : null,
        tool: this.tool,
        pointer: this.pointer,
        crosshair: this.crosshair,
        imageWidth: this.image.size_hw[1],
      });
    this.stage.onView = () => this.panels.showZoom();
    this.listeners = [
      [document, "keydown", (event) => this.keys.onKey(event)],
      [document, "keyup", (event) => this.keys.onKeyUp(event)],
      [this.kept, "changed", () => this.update()],
      [this.outbox, "changed", () => this.update()],
      [this.outbox, "refused", ({ detail }) => tellRefused(this, detail)],
      [window, "beforeunload", (event) => (this.busy || !this.outbox.isEmpty) && event.preventDefault()],
    ];
    for (const [target, type, listener] of this.listeners) target.addEventListener(type, listener);
  }
}

/** The studio as a page of the router. */
export async function openStudio(root, { id }, app) {
  const studio = new Studio(Number(id), app);
  root.replaceChildren(studio.element);
  try {
    await studio.open();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    root.replaceChildren(el("main.message", {}, el("h1", {}, "This image cannot be opened"), el("p", {}, error.message), el("a.button", { href: "#/" }, "All projects")));
  }
  return studio;
}

