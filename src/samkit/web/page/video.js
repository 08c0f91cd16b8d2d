/**
 * The page of one video: its frame with the masks of all tracks, a timeline, and what follows objects.
 * Clicks and boxes are prompts for the selected track in the frame that is shown.
 */

import { ApiError, get, getItems, post, remove, signedIn } from "./api.js";
import { WorkClock } from "./clock.js";
import { listenTo } from "./gestures.js";
import { VIDEO_KEYS, actionOf } from "./keys.js";
import { NOTHING } from "./labelling.js";
import { announce, banner, clearBanners, notify, notifyError } from "./notices.js";
import { hasPixel } from "./rle.js";
import { Stage } from "./stage.js";
import { DraftPainter, paintPrompts } from "./studio_paint.js";
import { t } from "./texts.js";
import { BoxTool } from "./tools/box.js";
import { BrushTool } from "./tools/brush.js";
import { PointTool } from "./tools/point.js";
import { VideoActions } from "./video_actions.js";
import { FramePictures } from "./video_frames.js";
import { VideoPanels } from "./video_panels.js";
import { VideoReview } from "./video_review.js";
import { Following, VideoTracks, promptsOf } from "./video_tracks.js";
import { zoomView } from "./view.js";

const RENEW_MS = 60_000;
const STAGE_LABEL = t("Frame of the video. Click an object, or drag a box around it. Press ? for all keys.");
const USUAL_RATE = 12; // frames a second, of folders and stacks
const BRUSH_SHARE = 80; // of the longest side, that a brush is at first
const AHEAD = 8; // frames that are fetched before they are shown

export class VideoPage {
  constructor(videoId) {
    this.id = videoId;
    this.state = { frame: 0, selectedId: null, nextClassId: null, background: false, toolName: "point", radius: 8, held: false, isPlaying: false, video: null, project: null, classes: new Map(), labelling: NOTHING };
    this.tracks = new VideoTracks(videoId, () => this.state.classes);
    this.stage = new Stage({ label: STAGE_LABEL });
    this.following = new Following(videoId, () => this.tracks.reload().catch(notifyError));
    this.clock = new WorkClock();
    this.painter = new DraftPainter();
    this.review = new VideoReview(this);
    this.actions = new VideoActions(this);
    const { actions, stage, state } = this;
    const tools = {
      addPoint: (pixel, label) => actions.addPoint(pixel, label),
      setBox: (box, inside) => inside && actions.setBox(box),
      movePoint: (index, pixel) => actions.movePoint(index, pixel),
      removePoint: (index) => actions.removePoint(index),
      removeBox: () => actions.removeBox(),
      radius: () => state.radius,
      stroke: (points, erase) => actions.stroke(points, erase),
      size: () => state.video.size_hw,
      backgroundMode: () => state.background,
      prompts: () => promptsOf(this.current),
      screenDistance: (one, other) => stage.view.scale * Math.hypot(one[0] - other[0], one[1] - other[1]),
    };
    this.tools = { point: new PointTool(tools), box: new BoxTool(tools), brush: new BrushTool(tools, false), eraser: new BrushTool(tools, true) };
    const nothing = () => {};
    this.looking = { down: nothing, move: nothing, up: ({ xy }) => this.pick(xy), cancel: nothing, draw: nothing };
    this.pointer = null;
  }

  async open() {
    const { state } = this;
    await this.review.load();
    state.radius = Math.max(2, Math.round(Math.max(...state.video.size_hw) / BRUSH_SHARE));
    const projectId = state.video.project_id;
    [state.project, state.classes, state.labelling] = await Promise.all([
      get(`projects/${projectId}`),
      getItems(`projects/${projectId}/classes`).then((all) => new Map(all.map((one) => [one.id, one]))),
      get(`projects/${projectId}/labelling`),
    ]);
    this.pictures = new FramePictures(state.video, () => {
      this.stage.repaint();
      this.update();
    });
    this.panels = new VideoPanels(this);
    this.element = this.panels.element;
    this.listen();
    await this.take();
    await Promise.all([this.tracks.load(), this.following.load()]);
    this.select(this.tracks.tracks[0]?.id ?? null);
  }

  /** Put the page into the document; the stage needs its size. */
  start() {
    this.stage.show(this.pictures);
    this.seek(0);
    this.timer = setInterval(() => this.take({ renewing: true }), RENEW_MS);
  }

  /** Take the video, or renew the lease; others may look on. */
  async take({ renewing = false } = {}) {
    const { state, review } = this;
    if (review.isReadOnly) {
      state.held = false;
      banner("held", null);
      return this.update();
    }
    try {
      const { video } = await post(`videos/${this.id}/lease`);
      if (video.review !== state.video.review) await review.load();
      state.held = true;
      banner("held", null);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (renewing && ![403, 409].includes(error.status)) return undefined; // the next renewal may succeed
      state.held = false;
      await review.load();
      if (review.isReadOnly) return this.take(); // somebody has submitted it meanwhile
      const { holder } = await get(`videos/${this.id}/lease`).catch(() => ({ holder: null }));
      banner("held", t("{name} works on this video: you can look at it.", { name: holder?.user_name ?? t("Somebody else") }), [{ label: t("Try again"), act: () => this.take().then(() => this.update()) }]);
    }
    return this.update();
  }

  close({ isShown = true } = {}) {
    this.closed = true;
    clearInterval(this.timer);
    this.pause();
    this.following.close();
    this.clock.close();
    this.stage.close();
    this.pictures?.close();
    for (const [target, type, listener] of this.listeners ?? []) target.removeEventListener(type, listener);
    if (isShown) clearBanners(); // else they are another page's
    if (this.state.held && signedIn.user) remove(`videos/${this.id}/lease`).catch(() => {}); // it expires by itself
  }

  connectAgain() {
    this.take({ renewing: true });
  }

  get selected() {
    return this.tracks.track(this.state.selectedId);
  }

  /** The selected track in this frame. */
  get current() {
    return this.selected ? this.tracks.of(this.state.selectedId, this.state.frame) : null;
  }

  /** The tool in use; who only looks on selects tracks. */
  get tool() {
    return this.state.held ? this.tools[this.state.toolName] : this.looking;
  }

  get isBrushing() {
    return this.state.held && this.tool instanceof BrushTool;
  }

  select(trackId) {
    this.state.selectedId = trackId;
    this.update();
  }

  seek(frame) {
    const { state } = this;
    const last = state.video.num_frames - 1;
    state.frame = Math.min(last, Math.max(0, frame));
    this.pictures.show(state.frame);
    this.update();
  }

  play() {
    const { state } = this;
    if (state.isPlaying) return;
    if (state.frame >= state.video.num_frames - 1) this.seek(0);
    state.isPlaying = true;
    const period = 1000 / (state.video.rate ?? USUAL_RATE);
    let due = performance.now() + period;
    const turn = (now) => {
      if (!state.isPlaying || this.closed) return;
      const next = state.frame + 1;
      this.pictures.ahead(Array.from({ length: AHEAD }, (_, i) => next + i));
      if (next >= state.video.num_frames) this.pause();
      else if (now >= due && this.pictures.has(next)) {
        // Each frame is shown: what cannot be fetched in time makes it slower, not incomplete.
        due = Math.max(due + period, now);
        this.seek(next);
      }
      if (state.isPlaying) requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
    this.update();
  }

  pause() {
    this.state.isPlaying = false;
    if (!this.closed) this.update();
  }

  /** Redraw once for all changes that are made together. */
  update() {
    if (this.isStale || !this.panels) return;
    this.isStale = true;
    queueMicrotask(() => {
      this.isStale = false;
      if (!this.closed) this.redraw();
    });
  }

  redraw() {
    const { state, tracks, stage } = this;
    tracks.want(state.frame, state.video.num_frames);
    // The selected track's mask is painted above the others, with what is being drawn.
    const shown = tracks.in(state.frame).filter(({ track_id: id, area_px: area }) => area > 0 && id !== state.selectedId);
    const byId = new Map(tracks.tracks.map((one) => [one.id, one]));
    stage.layers = shown.filter((one) => byId.has(one.track_id)).map((one) => tracks.layerOf(one, tracks.colorOf(byId.get(one.track_id))));
    this.panels.update();
    stage.redraw();
  }

  paint(context, view) {
    const { current, painter, selected, stage, state, tool, tracks } = this;
    const color = tracks.colorOf(selected ?? { class_id: state.nextClassId, number: tracks.nextNumber });
    painter.layer = selected && tracks.layerAt(selected.id, state.frame, color);
    if (painter.layer || tool.live) painter.paintMask(context, { view, opacity: stage.opacity, ratio: stage.ratio, color, tool });
    paintPrompts(context, view, promptsOf(current));
    tool.draw(context, view, this.pointer);
  }

  /** Select the track whose mask is at a place. */
  pick([x, y]) {
    const covers = (one) => one.area_px > 0 && hasPixel(this.tracks.layerOf(one, "#000000").mask, Math.floor(x), Math.floor(y));
    const found = this.tracks.in(this.state.frame).filter(covers);
    const smallest = found.sort((one, other) => one.area_px - other.area_px)[0];
    if (smallest) this.select(smallest.track_id);
  }

  zoom(factor) {
    const { view } = this.stage;
    this.stage.look(zoomView(view, factor, view.width / 2, view.height / 2));
  }

  listen() {
    const { stage } = this;
    listenTo(stage, {
      tool: () => this.tool,
      pick: (xy) => this.pick(xy),
      hover: (press) => {
        this.pointer = press?.xy ?? null;
      },
      spaceHeld: () => false, // it plays
      spaceUsed: () => {},
      resize: (factor) => this.isBrushing && this.actions.setRadius(this.state.radius * factor),
    });
    stage.paint = (context, view) => this.paint(context, view);
    this.listeners = [
      [document, "keydown", (event) => this.onKey(event)],
      [this.tracks, "changed", () => this.update()],
    ];
    for (const [target, type, listener] of this.listeners) target.addEventListener(type, listener);
  }

  onKey(event) {
    if (document.querySelector("dialog[open]") || event.target.closest?.("input:not([type=range]), textarea, select")) return;
    const found = actionOf(VIDEO_KEYS, event);
    if (!found) return;
    if (["Space", "Enter"].includes(found.key) && event.target.closest?.("button, a")) return; // they press it
    event.preventDefault();
    this.act(found.action, found.index);
  }

  /** Do what a key or a button says; failures are told. */
  act(action, index = 0) {
    return this.attempt(() => this.actions.act(action, index));
  }

  async attempt(act) {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notifyError(error);
      if (error.status === 409) await this.take({ renewing: true });
    }
    this.update();
  }

  tell(text) {
    announce(text);
  }

  offer(text, label, act) {
    notify(text, "info", { label, act });
  }
}

/** A video as a page of the router. */
export async function openVideo(root, { id }) {
  const page = new VideoPage(Number(id));
  await page.open();
  document.title = `${page.state.video.path} · samkit`;
  root.replaceChildren(page.element);
  page.start();
  return page;
}
