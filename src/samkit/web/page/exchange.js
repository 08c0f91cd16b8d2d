/** Dialogs for export, import, upload and scanning of a project. */

import { download, get, post, query, request } from "./api.js";
import { el, field, openDialog, select } from "./dom.js";
import { notify, notifyError } from "./notices.js";
import { FINISHED, stateLabel, statesOf } from "./states.js";
import { shownNumber, t, tn } from "./texts.js";

const EXPORTS = [["coco", "COCO JSON"], ["sa1b", "SA-1B"], ["yolo", t("YOLO segmentation")], ["voc", "Pascal VOC"], ["cvat", "CVAT XML"], ["label-studio", "Label Studio"], ["labelme", "LabelMe, X-AnyLabeling"], ["roboflow", t("COCO in Roboflow's folders")], ["datumaro", "Datumaro"], ["png", t("Label PNG")], ["geojson", "GeoJSON"]];
const IMPORTS = [
  ["", t("Detect")],
  ["coco", "COCO"],
  ["cvat", "CVAT XML"],
  ["datumaro", "Datumaro"],
  ["label-studio", "Label Studio"],
  ["labelme", "LabelMe, X-AnyLabeling"],
  ["png", t("Label PNG")],
  ["sa1b", "SA-1B"],
  ["voc", "Pascal VOC"],
  ["yolo", t("YOLO segmentation")],
];
const POLL_MS = 700;
const TIMEOUT_S = 600; // for large files

export function openExport({ id, name }, images) {
  const format = select(EXPORTS, "coco");
  const share = el("input", { type: "number", min: "0", max: "90", step: "5", value: "0" });
  const states = statesOf(images).map((state) => [state, el("input", { type: "checkbox", checked: FINISHED.includes(state) })]);
  const copies = el("input", { type: "checkbox" });
  const failure = el("p.failure", { role: "alert" });
  const button = el("button.primary", { type: "submit" }, t("Download"));
  const form = el(
    "form",
    {},
    field(t("Format"), format),
    field(t("Validation split, %"), share, t("Chosen by image content: always the same images")),
    el(
      "fieldset",
      {},
      el("legend", {}, t("Images")),
      el("div.choices", {}, ...states.map(([state, box]) => el("label.check", {}, box, stateLabel(state), el("span.count", {}, shownNumber(images[state].num_images))))),
      el("p.hint", {}, t("Images without masks are exported only if they are submitted or accepted.")),
    ),
    el("label.check", {}, copies, t("Include the images")),
    failure,
    el("footer", {}, button),
  );
  const dialog = openDialog(t("Export {name}", { name }), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const chosen = states.filter(([, box]) => box.checked).map(([state]) => state);
    failure.textContent = chosen.length ? "" : t("Choose at least one kind of images.");
    if (!chosen.length) return;
    button.disabled = true;
    button.textContent = t("Exporting…");
    const values = { format: format.value, val_fraction: share.value / 100, states: chosen, copy_images: copies.checked };
    try {
      const blob = await download(`projects/${id}/export?${query(values)}`);
      saveFile(blob, `${name.replace(/[^\p{L}\p{N}_-]+/gu, "-")}-${format.value}.zip`);
      dialog.close();
    } catch (error) {
      failure.textContent = error.message;
    } finally {
      button.disabled = false;
      button.textContent = t("Download");
    }
  });
}

/** Let the browser save a file. */
export function saveFile(blob, name) {
  const href = URL.createObjectURL(blob);
  el("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

export function openImport({ id, name }, done) {
  const format = select(IMPORTS, "");
  const file = el("input", { type: "file", required: true, accept: ".json,.xml,.zip" });
  const boxes = el("input", { type: "checkbox" });
  const binary = el("input", { type: "checkbox" });
  const failure = el("p.failure", { role: "alert" });
  const button = el("button.primary", { type: "submit" }, t("Import"));
  const form = el("form", {}, el("p.quiet", {}, t("A JSON or XML file, or a zip of files. Masks are matched to images by path or name; existing masks are skipped.")), field(t("Format"), format), field(t("File"), file), el("label.check", {}, boxes, t("Boxes without a mask are masks")), el("label.check", {}, binary, t("Each label image is one mask")), failure, el("footer", {}, button));
  const dialog = openDialog(t("Import into {name}", { name }), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const values = { boxes: boxes.checked, binary: binary.checked, ...(format.value && { format: format.value }) };
      const report = await request("POST", `projects/${id}/import?${query(values)}`, file.files[0], { timeoutS: TIMEOUT_S });
      dialog.close();
      notify(t("{masks} added on {images}, {known} known already, {out} left out.", { masks: tn("{n} mask", "{n} masks", report.num_added), images: tn("{n} image", "{n} images", report.num_images), known: report.num_known, out: report.num_left_out }), report.num_left_out ? "info" : "good");
      const lines = [...report.faults, ...report.notes];
      if (lines.length) openDialog(report.faults.length ? t("Left out") : t("Notes"), el("ul", {}, ...lines.map((line) => el("li", {}, line))));
      done();
    } catch (error) {
      failure.textContent = error.message;
      button.disabled = false;
    }
  });
}

export function openUpload({ id, name }, done) {
  const files = el("input", { type: "file", required: true, multiple: true, accept: "image/*" });
  const progress = el("progress", { max: "1", value: "0", hidden: true });
  const failure = el("p.failure", { role: "alert" });
  const button = el("button.primary", { type: "submit" }, t("Upload"));
  const form = el("form", {}, field(t("Images"), files), progress, failure, el("footer", {}, button));
  const dialog = openDialog(t("Add images to {name}", { name }), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    progress.hidden = false;
    const faults = [];
    const all = [...files.files];
    for (const [i, file] of all.entries()) {
      try {
        await request("POST", `projects/${id}/images?${query({ name: file.name })}`, file, { timeoutS: TIMEOUT_S });
      } catch (error) {
        faults.push(`${file.name}: ${error.message}`);
      }
      progress.value = (i + 1) / all.length;
    }
    if (faults.length < all.length) {
      notify(tn("{n} image added.", "{n} images added.", all.length - faults.length), "good");
      done();
    }
    if (faults.length) failure.textContent = faults.join(" · ");
    else dialog.close();
    button.disabled = false;
  });
}

/** Scan the project's folder for new images, as a job of the server. */
/** Say what a scan has found, and what it has left out. */
function showScan({ num_added: added, num_known: known, num_duplicates: twice, num_faults: faulty, duplicates, faults, left_out: others }) {
  const found = t("{images}, {known} known.", { images: tn("{n} new image", "{n} new images", added), known });
  const left = Object.entries(others);
  if (!twice && !faulty && !left.length) {
    notify(t("Scan finished: {found}", { found }), "good");
    return;
  }
  const list = (title, lines, count) => count > 0 && el("section", {}, el("h3", {}, `${title}: ${shownNumber(count)}`), el("ul.lines", {}, ...lines.map((line) => el("li", {}, line)), count > lines.length && el("li.quiet", {}, "…")));
  openDialog(
    t("Scan finished"),
    el(
      "div.report",
      {},
      el("p", {}, found),
      list(t("Not added"), faults, faulty),
      list(t("The same content as another image"), duplicates.map(([path, other]) => t("{path}: as {other}", { path, other })), twice),
      list(t("Left out"), left.map(([kind, count]) => `${kind}: ${shownNumber(count)}`), left.reduce((sum, [, count]) => sum + count, 0)),
    ),
  );
}

export async function scanFolder({ id }, done) {
  try {
    let job = await post(`projects/${id}/scan`, {});
    notify(t("Scanning the folder…"));
    while (["waiting", "running"].includes(job.state)) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      job = await get(`jobs/${job.id}`);
    }
    if (job.state === "failed") notify(t("Scan failed: {error}", { error: job.error }), "bad");
    else showScan(job.data.report);
    done();
  } catch (error) {
    notifyError(error);
  }
}
