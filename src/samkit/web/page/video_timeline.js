/** The timeline of a video: a row for each track with its keyframes and states, and the place. */

import { el, fill } from "./dom.js";
import { listed, t } from "./texts.js";
import { KEYFRAMES } from "./video_tracks.js";
import { KIND_WORDS, SIGHT_WORDS } from "./words.js";

export class Timeline {
  /** @param {{count: number, seek: (frame: number) => void, select: (trackId: number) => void}} options */
  constructor({ count, seek, select }) {
    Object.assign(this, { count, seek, select });
    this.rows = el("ol.lanes", { "aria-label": t("Tracks") });
    this.head = el("div.playhead", { "aria-hidden": "true" });
    this.scale = el("div.scale", { "aria-hidden": "true" }, ...ticks(count).map((frame) => placed(el("span", {}, String(frame)), frame, count)));
    this.range = el("input.scrub", { type: "range", min: "0", max: String(count - 1), step: "1", value: "0", "aria-label": t("Frame"), oninput: () => seek(Number(this.range.value)) });
    this.area = el("div.lanes-area", {}, this.rows, el("div.over-lanes", {}, this.head));
    this.element = el("div.timeline", {}, el("div.scrub-line", {}, this.range), this.scale, this.area);
    this.area.addEventListener("pointerdown", (event) => this.press(event));
    this.area.addEventListener("pointermove", (event) => event.buttons & 1 && this.area.hasPointerCapture(event.pointerId) && this.seekTo(event));
    this.drawn = "";
  }

  press(event) {
    const row = event.target.closest("[data-track]");
    if (row) this.select(Number(row.dataset.track));
    if (event.target.closest("button")) return;
    this.area.setPointerCapture(event.pointerId);
    this.seekTo(event);
  }

  seekTo({ clientX }) {
    const { left, width } = this.element.querySelector(".over-lanes").getBoundingClientRect();
    this.seek(Math.min(this.count - 1, Math.max(0, Math.floor(((clientX - left) / width) * this.count))));
  }

  /** @param {number} frame */
  showFrame(frame) {
    this.range.value = String(frame);
    this.range.setAttribute("aria-valuetext", t("frame {n} of {total}", { n: String(frame), total: this.count }));
    this.head.style.left = `${((frame + 0.5) / this.count) * 100}%`;
  }

  /** @param {import("./video_tracks.js").Track[]} tracks */
  showTracks(tracks, { colorOf, nameOf, selected }) {
    const drawn = JSON.stringify([tracks, selected, tracks.map(colorOf), tracks.map(nameOf)]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    fill(this.rows, ...tracks.map((track) => this.row(track, colorOf(track), nameOf(track), track.id === selected)));
  }

  row(track, color, name, isSelected) {
    const label = el("button.lane-name", { type: "button", "data-key": `lane-${track.id}`, "aria-pressed": String(isSelected), onclick: () => this.select(track.id) }, dot(color), el("span.name", {}, name));
    const bars = track.runs.map((run) => this.bar(run, color));
    return el("li.lane", { "data-track": track.id, class: isSelected ? "lane chosen" : "lane" }, label, el("div.lane-bars", {}, ...bars));
  }

  bar({ first, last, kind, state, stale }, color) {
    const isKey = KEYFRAMES.includes(kind) && state === "present";
    const place = first === last ? t("frame {n}", { n: String(first) }) : t("frames {first} to {last}", { first: String(first), last: String(last) });
    const title = `${place}${t(": ")}${listed([KIND_WORDS[kind], SIGHT_WORDS[state], stale && t("out of date")].filter(Boolean))}`;
    const node = el("span", { class: ["run", kind, state, stale && "stale", isKey && "key"].filter(Boolean).join(" "), title });
    node.style.left = `${(first / this.count) * 100}%`;
    node.style.width = `${((last - first + 1) / this.count) * 100}%`;
    node.style.setProperty("--track", color);
    return node;
  }
}

function dot(color) {
  const node = el("span.swatch", { "aria-hidden": "true" });
  node.style.background = color;
  return node;
}

function placed(node, frame, count) {
  node.style.left = `${((frame + 0.5) / count) * 100}%`;
  return node;
}

/** About ten round numbers of frames. */
function ticks(count) {
  const rough = count / 8;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const step = Math.max(1, [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough));
  return Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
}
