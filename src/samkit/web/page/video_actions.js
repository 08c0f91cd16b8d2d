/** What people do on a video's page: each key and button leads to one of these actions. */

import { confirmDialog } from "./dom.js";
import { openHelp } from "./help.js";
import { VIDEO_KEYS } from "./keys.js";
import { notify } from "./notices.js";
import { strokeMask } from "./raster.js";
import { areaOf, cut, emptyMask, sameMask, unite } from "./rle.js";
import { togglePanel } from "./studio_panels.js";
import { t } from "./texts.js";
import { switchTheme } from "./theme.js";
import { KEYFRAMES, promptsOf } from "./video_tracks.js";
import { TOOL_WORDS } from "./words.js";

const FAR = 10; // frames of a long step
const RADIUS_STEP = 1.25;
const MAX_RADIUS = 400; // pixels of the frame
const MAX_WAITING = 3; // prompts and strokes; more prompts are not taken

const isKey = ({ kind }) => KEYFRAMES.includes(kind);
// What people should look at: the object was lost or hardly looked like itself, and nobody has said so.
const isLost = ({ kind, state }) => !isKey({ kind }) && state !== "present";

export class VideoActions {
  /** @param {import("./video.js").VideoPage} page */
  constructor(page) {
    this.page = page;
    this.turn = Promise.resolve(); // of what is prompted and drawn
    this.numWaiting = 0;
    this.simple = {
      play: () => (page.state.isPlaying ? page.pause() : page.play()),
      "frame:next": () => this.step(1),
      "frame:previous": () => this.step(-1),
      "frame:forward": () => this.step(FAR),
      "frame:back": () => this.step(-FAR),
      "frame:first": () => page.seek(0),
      "frame:last": () => page.seek(page.state.video.num_frames - 1),
      "key:next": () => this.goTo(1, isKey, t("No keyframe behind this frame.")),
      "key:previous": () => this.goTo(-1, isKey, t("No keyframe before this frame.")),
      "lost:next": () => this.goTo(1, isLost, t("No place where a track is lost behind this frame.")),
      "lost:previous": () => this.goTo(-1, isLost, t("No place where a track is lost before this frame.")),
      "tool:point": () => this.use("point"),
      "tool:box": () => this.use("box"),
      "tool:brush": () => this.use("brush"),
      "tool:eraser": () => this.use("eraser"),
      "radius-": () => this.setRadius(page.state.radius / RADIUS_STEP),
      "radius+": () => this.setRadius(page.state.radius * RADIUS_STEP),
      submit: () => page.review.submit(),
      "review:return": () => page.review.askComment(),
      "review:fix": () => page.review.fix(),
      background: () => {
        page.state.background = !page.state.background;
      },
      "class:choose": () => page.panels.classes.focus(),
      "track:new": () => this.addTrack(),
      "track:next": () => this.selectBeside(1),
      "track:previous": () => this.selectBeside(-1),
      "track:delete": () => this.deleteTrack(),
      "track:split": () => this.split(),
      "frame:clear": () => this.clear(),
      "frame:confirm": () => this.withTrack(({ id }) => page.tracks.confirm(id, page.state.frame, page.clock.lap())),
      "frame:absent": () => this.withTrack(({ id }) => page.tracks.markAbsent(id, page.state.frame, page.state.frame)),
      "frames:absent": () => this.markGone(),
      interpolate: () => this.withTrack(({ id }) => page.tracks.interpolate(id, page.state.frame, "flow")),
      "interpolate:box": () => this.withTrack(({ id }) => page.tracks.interpolate(id, page.state.frame, "box")),
      "follow:forward": () => this.follow(false),
      "follow:back": () => this.follow(true),
      "follow:stop": () => page.following.isRunning && page.following.stop(),
      undo: () => this.undo(),
      "zoom+": () => page.zoom(1.25),
      "zoom-": () => page.zoom(0.8),
      "view:fit": () => page.stage.fit(),
      panel: () => togglePanel(page.panels.panel, page.stage),
      theme: () => switchTheme(),
      help: () => openHelp(VIDEO_KEYS),
    };
  }

  act(action, index) {
    if (action === "track:n") return this.selectNumber(index);
    if (action === "class:n") return this.chooseNumber(index);
    return this.simple[action]?.();
  }

  step(frames) {
    this.page.pause();
    this.page.seek(this.page.state.frame + frames);
  }

  /** Go to the next run of a kind: of the selected track for keyframes, else of any. */
  goTo(step, fits, none) {
    const { page } = this;
    const own = fits === isKey && page.selected ? [page.selected] : undefined;
    const frame = page.tracks.nearest(page.state.frame, step, fits, own);
    if (frame === null) return notify(none);
    page.pause();
    const lost = page.tracks.tracks.find(({ runs }) => runs.some((run) => run.first === frame && fits(run)));
    if (lost && !own) page.select(lost.id);
    return page.seek(frame);
  }

  use(name) {
    this.page.tools[this.page.state.toolName].cancel();
    this.page.state.toolName = name;
    this.page.tell(t("Tool: {name}.", { name: TOOL_WORDS[name] }));
  }

  selectBeside(step) {
    const { page } = this;
    const all = page.tracks.tracks;
    if (!all.length) return;
    const at = all.findIndex(({ id }) => id === page.state.selectedId);
    page.select(all[(at + step + all.length) % all.length].id);
  }

  selectNumber(index) {
    const track = this.page.tracks.tracks[index];
    if (track) this.page.select(track.id);
  }

  chooseNumber(index) {
    const id = [...this.page.state.classes.keys()][index];
    if (id !== undefined) this.page.panels.chooseClass(id);
  }

  async withTrack(act) {
    const { page } = this;
    if (!page.state.held) return undefined;
    if (!page.selected) return notify(t("Select a track first, or click an object."));
    return act(page.selected);
  }

  async addTrack() {
    const { page } = this;
    if (!page.state.held) return null;
    const made = await page.tracks.add(page.state.nextClassId);
    page.select(made.id);
    page.tell(t("Track {n}.", { n: made.number }));
    return made.id;
  }

  /**
   * Prompt or draw in the frame that is shown, one after the other: what comes first may begin the
   * track, and what comes next rests on its answer.
   * @template T
   * @param {(frame: number, trackId: number | null) => Promise<T>} act
   * @returns {Promise<T | undefined>}
   */
  inTurn(act) {
    const { page } = this;
    const { frame, held, video } = page.state;
    const { selected } = page;
    if (!held) return Promise.resolve();
    page.pause();
    if (!page.pictures.isShown) {
      notify(t("This frame is not there yet: wait a moment."));
      return Promise.resolve();
    }
    let done;
    const turn = () =>
      page.attempt(async () => {
        await page.tracks.ready(frame, video.num_frames);
        done = await act(frame, (selected ?? page.selected)?.id ?? null);
      });
    this.numWaiting += 1;
    this.turn = this.turn.then(turn).finally(() => {
      this.numWaiting -= 1;
    });
    return this.turn.then(() => done);
  }

  /** Change the prompts of the selected track in this frame; without a track, begin one. */
  prompt(change) {
    const { tracks, clock } = this.page;
    if (this.numWaiting >= MAX_WAITING) return undefined;
    return this.inTurn(async (frame, known) => {
      const id = known ?? (await this.addTrack());
      if (id !== null) await tracks.prompt(id, frame, change(promptsOf(tracks.of(id, frame))), clock.lap());
    });
  }

  setRadius(radius) {
    const { page } = this;
    page.state.radius = Math.min(MAX_RADIUS, Math.max(1, Math.round(radius * 10) / 10));
    page.update();
    return true;
  }

  /** Paint onto the selected track's mask in this frame, or erase from it; without a track, begin one. */
  async stroke(points, erase) {
    const { page } = this;
    const { tracks } = page;
    const { radius, video } = page.state;
    const begun = await this.inTurn(async (frame, trackId) => {
      const known = trackId && tracks.layerAt(trackId, frame)?.mask;
      if (erase && !known) return notify(t("The selected track has no mask here to erase from."));
      const id = trackId ?? (await this.addTrack());
      if (id === null) return undefined;
      const [height, width] = video.size_hw;
      const before = known ?? emptyMask(height, width);
      const shape = strokeMask(height, width, points, radius);
      const mask = erase ? cut(before, shape) : unite(before, shape);
      if (sameMask(mask, before)) return undefined;
      if (!areaOf(mask)) return notify(t("Nothing would be left. A says that the object is not seen here, Delete clears the frame."));
      return { stored: tracks.draw(id, frame, mask, page.clock.lap()) }; // the next stroke does not wait for that
    });
    if (begun) await page.attempt(() => begun.stored);
  }

  addPoint(pixel, label) {
    return this.prompt(({ points, labels, box }) => ({ points: [...points, pixel], labels: [...labels, label], box }));
  }

  setBox(box) {
    return this.prompt(() => ({ points: [], labels: [], box }));
  }

  movePoint(index, pixel) {
    return this.prompt(({ points, labels, box }) => ({ points: points.with(index, pixel), labels, box }));
  }

  removePoint(index) {
    return this.prompt(({ points, labels, box }) => ({ points: points.filter((_, i) => i !== index), labels: labels.filter((_, i) => i !== index), box }));
  }

  removeBox() {
    return this.prompt(({ points, labels }) => ({ points, labels, box: null }));
  }

  async undo() {
    if (!this.page.state.held) return;
    await this.turn;
    if (!(await this.page.tracks.undo())) notify(t("Nothing to undo: what is done in frames since the video was opened can be undone."));
  }

  async deleteTrack() {
    await this.withTrack(async (track) => {
      const gone = await this.page.tracks.drop(track);
      this.page.select(this.page.tracks.tracks[0]?.id ?? null);
      this.page.offer(t("Track {n} deleted.", { n: track.number }), t("Undo"), () => this.page.attempt(() => this.page.tracks.restore(gone)));
    });
  }

  split() {
    return this.withTrack(async (track) => {
      const { after } = await this.page.tracks.split(track, this.page.state.frame);
      this.page.select(after.id);
      notify(t("From this frame on it is track {n}.", { n: after.number }), "good");
    });
  }

  async merge(other) {
    await this.withTrack(async (track) => {
      const yes = await confirmDialog(t("Merge track {other} into {n}?", { other: other.number, n: track.number }), t("They become one track. Where both have a mask, that of a person stays, else that of the selected track."), t("Merge"), { byEnter: true });
      if (yes) await this.page.tracks.merge(track, other);
    });
  }

  clear() {
    return this.withTrack(({ id }) => this.page.tracks.clear(id, this.page.state.frame));
  }

  /** The object is gone from here until the track has a keyframe again. */
  markGone() {
    return this.withTrack(({ id, runs }) => {
      const { frame, video } = this.page.state;
      const next = Math.min(...runs.filter(isKey).map(({ first }) => first).filter((first) => first > frame));
      return this.page.tracks.markAbsent(id, frame, (Number.isFinite(next) ? next : video.num_frames) - 1);
    });
  }

  async follow(reverse) {
    const { page } = this;
    if (!page.state.held) return;
    page.pause();
    await page.following.start({ start: page.state.frame, reverse, track_ids: page.panels.onlySelected && page.selected ? [page.state.selectedId] : null });
  }
}
