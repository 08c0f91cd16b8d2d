/** Header, tools, timeline and side panel of a video's page, redrawn from its state. */

import { AttributePanel } from "./attribute_panel.js";
import { ClassList } from "./class_list.js";
import { post } from "./api.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { VIDEO_KEYS, keyFor, shownKey } from "./keys.js";
import { startNotices } from "./notices.js";
import { swatch } from "./swatch.js";
import { listed, t, tn } from "./texts.js";
import { radiusOf, sliderOf } from "./tools/brush.js";
import { themeButton } from "./theme.js";
import { Timeline } from "./video_timeline.js";
import { attributesAt } from "./video_tracks.js";
import { KIND_WORDS, SIGHT_WORDS, TOOL_WORDS } from "./words.js";

const hint = (action) => shownKey(keyFor(VIDEO_KEYS, action));
const TOOLS = ["point", "box", "brush", "eraser"];

/** The attributes of the selected track, from the frame that is shown on. */
class TrackAttributes extends AttributePanel {
  constructor(page) {
    const state = {
      get labelling() {
        return page.state.labelling;
      },
      get attributes() {
        return page.selected ? attributesAt(page.selected, page.state.frame) : {};
      },
      get atWork() {
        return page.selected !== null;
      },
      get held() {
        return page.state.held;
      },
      get selectedKey() {
        return `${page.state.selectedId} ${page.state.frame}`;
      },
      update: () => page.update(),
    };
    super({ state, masks: null, tags: { tags: [] }, clock: page.clock, leave: () => page.stage.element.focus() });
    this.page = page;
    this.ofMask.querySelector("h2").textContent = t("Attributes from this frame on");
  }

  set(name, value) {
    const { page, state } = this;
    const values = { ...state.attributes, [name]: value };
    if (value === false || value === null || value === "") delete values[name];
    page.attempt(() => page.tracks.setAttributes(page.selected, page.state.frame, values));
  }
}

export class VideoPanels {
  /** @param {import("./video.js").VideoPage} page */
  constructor(page) {
    this.page = page;
    const { state } = page;
    const { video, project } = state;
    const leave = () => page.stage.element.focus();
    this.timeline = new Timeline({
      count: video.num_frames,
      seek: (frame) => {
        page.pause();
        page.seek(frame);
      },
      select: (id) => page.select(id),
    });
    this.saveState = el("span.save-state", { "aria-live": "polite" });
    this.place = el("output.frame-number", { "aria-label": t("Frame") });
    this.play = this.button("play", "play", t("Play"));
    this.stop = this.button("follow:stop", "stop", t("Stop following"));
    this.progress = el("progress.following", { max: "1", value: 0, "aria-label": t("Following") });
    this.said = el("span.quiet", { "aria-live": "polite" });
    this.only = el("input", { type: "checkbox" });
    this.tools = TOOLS.map((name) => this.tool(`tool:${name}`, name, TOOL_WORDS[name]));
    this.background = this.tool("background", "minus", t("Outside"), ".sign");
    this.radius = el("input", { type: "range", min: "0", max: "100", step: "1", "aria-label": t("Radius of the brush"), oninput: () => page.actions.setRadius(radiusOf(this.radius.value)) });
    this.radiusText = el("output");
    this.brushSize = el("div.radius", { title: t("Radius of the brush: {less} and {more}", { less: hint("radius-"), more: hint("radius+") }) }, this.radiusText, this.radius);
    this.classes = new ClassList({ choose: (id) => this.chooseClass(id), add: (name) => this.addClass(name), leave });
    this.attributes = new TrackAttributes(page);
    this.list = el("ul.track-list", { "aria-label": t("Tracks") });
    this.element = this.build(video, project);
    this.drawn = "";
  }

  get onlySelected() {
    return this.only.checked;
  }

  button(action, glyph, label, kind = "") {
    return el(`button.icon${kind}`, { type: "button", title: `${label} (${hint(action)})`, "aria-label": label, "data-key": action, onclick: () => this.page.act(action) }, icon(glyph));
  }

  worded(action, glyph, label) {
    return el("button", { type: "button", title: `${label} (${hint(action)})`, "data-key": action, onclick: () => this.page.act(action) }, icon(glyph), label);
  }

  tool(action, glyph, label, kind = "") {
    return el(`button.tool${kind}`, { type: "button", title: `${label} (${hint(action)})`, "aria-pressed": "false", "data-key": action, onclick: () => this.page.act(action) }, icon(glyph), el("kbd", {}, hint(action)));
  }

  build(video, project) {
    const facts = [tn("{n} frame", "{n} frames", video.num_frames), video.rate && clockOf(video.num_frames / video.rate), `${video.size_hw[1]} × ${video.size_hw[0]}`];
    const title = el("div.title", {}, el("h1", { title: video.path }, video.path), el("span.size.quiet", {}, listed(facts.filter(Boolean))));
    const back = el("a.icon", { href: `#/project/${project.id}/videos`, title: t("Back to the project's videos"), "aria-label": t("Back to the project's videos") }, icon("back"));
    const zoom = el("div.zoombar", { role: "toolbar", "aria-label": t("View") }, this.button("zoom-", "minus", t("Zoom out")), this.button("zoom+", "plus", t("Zoom in")), this.button("view:fit", "fit", t("Whole frame")));
    const header = el("header.bar", {}, back, title, el("span.grow"), this.page.review.badge, this.saveState, this.button("undo", "undo", t("Undo the last prompt, stroke, absence or clearing"), ".to-edit"), zoom, this.button("panel", "list", t("Tracks, classes and history")), themeButton(), this.button("help", "help", t("Keys")), this.page.review.submitButton);
    const rail = el("div.rail.to-edit", { role: "toolbar", "aria-label": t("Tools"), "aria-orientation": "vertical" }, ...this.tools, this.background, this.brushSize);
    const canvas = el("main.canvas", { "aria-label": t("Frame") }, this.page.stage.element, this.page.review.verdict, startNotices());
    const ofTrack = el(
      "div.track-acts.to-edit",
      { role: "group", "aria-label": t("The track in this frame") },
      this.worded("frame:confirm", "check", t("Right")),
      this.worded("frame:absent", "hidden", t("Not seen")),
      this.worded("frames:absent", "door", t("Gone")),
      this.worded("frame:clear", "cross", t("Clear")),
      this.worded("track:split", "merge", t("Split")),
      this.worded("interpolate", "strip", t("Fill between")),
      this.worded("interpolate:box", "box", t("With boxes")),
      this.worded("track:delete", "bin", t("Delete track")),
    );
    const tracks = el("section.tracks", {}, el("h2.row", {}, t("Tracks"), el("span.grow"), this.button("track:new", "plus", t("New track"), ".to-edit")), this.list, ofTrack);
    this.classes.element.classList.add("to-edit");
    this.panel = el("aside.panel", { "aria-label": t("Tracks, classes and history") }, tracks, this.attributes.element, this.classes.element, this.page.review.element);
    const element = el("div.studio.video", {}, header, el("div.workspace", {}, rail, canvas, this.panel), el("footer.transport", {}, this.controls(), this.timeline.element));
    // After a click on a button the keys work the video again.
    element.addEventListener("click", ({ target, detail }) => {
      if (detail > 0 && target.closest("button") && !target.closest("dialog")) this.page.stage.element.focus({ preventScroll: true });
    });
    return element;
  }

  controls() {
    return el(
      "div.controls",
      { role: "toolbar", "aria-label": t("Frames") },
      this.button("frame:previous", "back", t("Previous frame")),
      this.play,
      this.button("frame:next", "next", t("Next frame")),
      this.place,
      el("span.row.tight", {}, this.button("key:previous", "key-previous", t("Previous keyframe")), this.button("key:next", "key-next", t("Next keyframe"))),
      el("span.row.tight", {}, this.button("lost:previous", "lost-previous", t("Previous place where a track is lost")), this.button("lost:next", "lost-next", t("Next place where a track is lost"))),
      el("span.grow"),
      this.said,
      this.progress,
      this.stop,
      el("div.follow-acts.to-edit", {}, el("label.check", { title: t("Follow the selected track alone") }, this.only, t("Selected only")), this.worded("follow:back", "follow-back", t("Follow back")), this.worded("follow:forward", "follow-forward", t("Follow"))),
    );
  }

  chooseClass(classId) {
    const { page } = this;
    if (page.selected && page.state.held) page.attempt(() => page.tracks.setClass(page.selected, classId));
    page.state.nextClassId = classId;
    page.update();
  }

  addClass(name) {
    const { page } = this;
    page.attempt(async () => {
      const made = await post(`projects/${page.state.project.id}/classes`, { name });
      page.state.classes = new Map([...page.state.classes, [made.id, made]]);
      this.chooseClass(made.id);
    });
  }

  nameOf(track) {
    return `${track.number} ${this.page.state.classes.get(track.class_id)?.name ?? ""}`.trim();
  }

  update() {
    const { page, timeline } = this;
    const { state, tracks, following, pictures } = page;
    const { frame, video } = state;
    this.element.dataset.frame = frame;
    this.element.toggleAttribute("data-reading", !state.held);
    page.review.update();
    this.brushSize.hidden = !page.isBrushing;
    this.radius.value = String(sliderOf(state.radius));
    say(this.radiusText, `${Math.round(state.radius)} px`);
    this.element.toggleAttribute("data-waits", tracks.waiting > 0);
    this.element.toggleAttribute("data-shown", pictures.has(frame));
    say(this.saveState, pictures.error ?? (tracks.waiting ? t("Asking…") : t("Saved")));
    this.saveState.classList.toggle("bad", pictures.error !== null);
    say(this.place, `${frame} / ${video.num_frames - 1}${video.rate ? `  ${clockOf(frame / video.rate)}` : ""}`);
    fillIcon(this.play, state.isPlaying ? "pause" : "play", state.isPlaying ? t("Pause") : t("Play"));
    for (const [i, name] of TOOLS.entries()) this.tools[i].setAttribute("aria-pressed", String(state.toolName === name));
    this.background.setAttribute("aria-pressed", String(state.background));
    timeline.showFrame(frame);
    timeline.showTracks(tracks.tracks, { colorOf: (one) => tracks.colorOf(one), nameOf: (one) => this.nameOf(one), selected: state.selectedId });
    this.updateFollowing(following);
    this.updateList();
    this.classes.show(state.classes, page.selected ? page.selected.class_id : state.nextClassId);
    this.attributes.update();
  }

  updateFollowing({ job, at, isRunning }) {
    this.progress.hidden = this.stop.hidden = !isRunning;
    if (job) this.progress.value = job.progress;
    const words = { waiting: t("Following begins…"), running: t("Following: frame {at}", { at: String(at) }), failed: t("Following failed: {error}", { error: job?.error }), stopped: t("Stopped at frame {at}", { at: String(at) }) };
    say(this.said, words[job?.state] ?? "");
    this.said.classList.toggle("failure", job?.state === "failed");
  }

  updateList() {
    const { page } = this;
    const { state, tracks } = page;
    const rows = tracks.tracks.map((track) => {
      const here = tracks.of(track.id, state.frame);
      const words = here ? listed([KIND_WORDS[here.kind], here.state !== "present" && SIGHT_WORDS[here.state], here.stale && t("out of date")].filter(Boolean)) : t("nothing here");
      return { id: track.id, name: this.nameOf(track), words, color: tracks.colorOf(track), isSelected: track.id === state.selectedId, mayMerge: state.held && page.selected !== null && track.id !== state.selectedId, track };
    });
    const drawn = JSON.stringify(rows);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const empty = el("li.empty.quiet", {}, t("No tracks yet. Click an object in the frame, or drag a box around it."));
    fill(this.list, ...(rows.length ? rows.map((one) => this.row(one)) : [empty]));
  }

  row({ id, name, words, color, isSelected, mayMerge, track }) {
    const merge = mayMerge && el("button.icon", { type: "button", title: t("Merge into the selected track"), "aria-label": t("Merge track {n} into the selected one", { n: track.number }), "data-key": `merge-${id}`, onclick: () => this.page.attempt(() => this.page.actions.merge(track)) }, icon("merge"));
    return el("li", {}, el("button.track-row", { type: "button", "data-key": `track-${id}`, "aria-pressed": String(isSelected), onclick: () => this.page.select(id) }, swatch(color), el("span.name", {}, name), el("span.quiet", {}, words)), merge);
  }
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function fillIcon(button, glyph, label) {
  if (button.getAttribute("aria-label") === label) return;
  button.setAttribute("aria-label", label);
  fill(button, icon(glyph));
}

/** Seconds as minutes and seconds. */
export function clockOf(seconds) {
  const total = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60];
  const rest = `${String(total % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
