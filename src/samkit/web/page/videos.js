/** The part of a project's page that lists its videos: add, export, import. */

import { download, isAdmin, isReviewer, listAll, query, request } from "./api.js";
import { el, field, fill, openDialog, select } from "./dom.js";
import { saveFile } from "./exchange.js";
import { icon } from "./icons.js";
import { notify, notifyError } from "./notices.js";
import { STATE_WORDS } from "./states.js";
import { listed, shownNumber, t, tn } from "./texts.js";
import { clockOf } from "./video_panels.js";

const FORMATS = [["coco-video", "COCO video (YouTube-VIS)"], ["cvat-video", "CVAT for video"], ["davis", "DAVIS"], ["mot", t("MOT (boxes)")]];
const TIMEOUT_S = 600; // long videos are read once, exports may be large

export async function showVideos(place, project, reload) {
  const videos = await listAll(`projects/${project.id}/videos`);
  const button = (glyph, text, act) => el("button", { type: "button", onclick: act }, icon(glyph), text);
  const acts = el(
    "div.row",
    {},
    isAdmin() && button("folder", t("Look for videos"), () => scan(project, reload)),
    isAdmin() && button("plus", t("Add a stack or a folder of frames"), () => openAdd(project, reload)),
    el("span.grow"),
    isAdmin() && button("plus", t("Import tracks"), () => openImport(project, reload)),
    isReviewer() && videos.length > 0 && reviewButton(videos),
    isReviewer() && videos.length > 0 && button("export", t("Export tracks"), () => openExport(project)),
  );
  const none = el("p.message", {}, isAdmin() ? t("No videos yet. Put video files into the project's folder and look for them, or add a stack or a folder of frames.") : t("No videos yet."));
  fill(place, acts, videos.length ? el("ul.cards.videos", {}, ...videos.map(card)) : none);
}

/** Opens the first video that waits for review. */
function reviewButton(videos) {
  const waiting = videos.filter(({ review }) => review === "submitted");
  const text = [icon("check"), t("Review"), waiting.length > 0 && el("span.count", {}, shownNumber(waiting.length))];
  if (waiting.length) return el("a.button", { href: `#/video/${waiting[0].id}` }, ...text);
  return el("button", { type: "button", disabled: true, title: t("No video waits for review") }, ...text);
}

function card({ id, path, review, num_frames: count, rate, size_hw: [height, width], num_tracks: tracks }) {
  const picture = el("img", { src: `/api/videos/${id}/frames/0?max_side=512`, alt: "", loading: "lazy", decoding: "async", onerror: () => picture.replaceWith(el("span.broken", {}, t("cannot be read"))) });
  const facts = listed([tn("{n} frame", "{n} frames", count), rate && clockOf(count / rate), `${width} × ${height}`].filter(Boolean));
  return el("li", {}, el("a.card.project", { href: `#/video/${id}` }, el("div.cover", {}, picture), el("h2", {}, path), review !== "none" && el("p", {}, el(`span.badge.${review}`, {}, STATE_WORDS[review])), el("p.quiet", {}, facts), el("p.quiet", {}, tn("{n} track", "{n} tracks", tracks))));
}

async function scan({ id }, reload) {
  notify(t("Looking for videos. Each new one is read once, to count its frames."));
  try {
    const { num_added: added, num_known: known, faults } = await request("POST", `projects/${id}/videos/scan`, {}, { timeoutS: TIMEOUT_S });
    notify(tn("{n} video added, {known} known already.", "{n} videos added, {known} known already.", added, { known }), added ? "good" : "info");
    if (faults.length) openDialog(t("Not added"), el("ul", {}, ...faults.map((line) => el("li", {}, line))));
    reload();
  } catch (error) {
    notifyError(error);
  }
}

function openAdd({ id }, reload) {
  const path = el("input", { required: true, maxlength: "4096", placeholder: "run1/frames" });
  const failure = el("p.failure", { role: "alert" });
  const form = el("form", {}, field(t("Path below the project's folder"), path, t("A video file, a TIFF stack, or a folder of images")), failure, el("footer", {}, el("button.primary", { type: "submit" }, t("Add"))));
  const dialog = openDialog(t("Add a video"), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await request("POST", `projects/${id}/videos`, { path: path.value.trim() }, { timeoutS: TIMEOUT_S });
      dialog.close();
      reload();
    } catch (error) {
      failure.textContent = error.message;
    }
  });
}

function openExport({ id, name }) {
  const format = select(FORMATS, "coco-video");
  const states = select([["", t("All")], ["submitted accepted", t("Submitted and accepted")], ["accepted", t("Accepted")]], "");
  const frames = el("input", { type: "checkbox" });
  const failure = el("p.failure", { role: "alert" });
  const button = el("button.primary", { type: "submit" }, t("Download"));
  const form = el("form", {}, field(t("Format"), format), field(t("Videos"), states), el("label.check", {}, frames, t("Include the frames as JPEG")), failure, el("footer", {}, button));
  const dialog = openDialog(t("Export tracks of {name}", { name }), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const blob = await download(`projects/${id}/videos/export?${query({ format: format.value, copy_frames: frames.checked, states: states.value.split(" ") })}`);
      saveFile(blob, `${name.replace(/[^\p{L}\p{N}_-]+/gu, "-")}-${format.value}.zip`);
      dialog.close();
    } catch (error) {
      failure.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  });
}

function openImport({ id, name }, reload) {
  const format = select([["", t("Detect")], ...FORMATS], "");
  const file = el("input", { type: "file", required: true, accept: ".json,.xml,.zip,.txt" });
  const failure = el("p.failure", { role: "alert" });
  const button = el("button.primary", { type: "submit" }, t("Import"));
  const form = el("form", {}, el("p.quiet", {}, t("A file or a zip as the export writes it, or of another program. Tracks go to the videos of the same name; those that are there already are left out.")), field(t("Format"), format), field(t("File"), file), failure, el("footer", {}, button));
  const dialog = openDialog(t("Import tracks into {name}", { name }), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const report = await request("POST", `projects/${id}/videos/import?${query({ format: format.value })}`, file.files[0], { timeoutS: TIMEOUT_S });
      dialog.close();
      notify(t("{tracks} added in {videos}, {known} known already.", { tracks: tn("{n} track", "{n} tracks", report.num_added), videos: tn("{n} video", "{n} videos", report.num_videos), known: report.num_known }), "good");
      if (report.faults.length) openDialog(t("Left out"), el("ul", {}, ...report.faults.map((line) => el("li", {}, line))));
      reload();
    } catch (error) {
      failure.textContent = error.message;
      button.disabled = false;
    }
  });
}
