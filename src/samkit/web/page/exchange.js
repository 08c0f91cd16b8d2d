/** Dialogs for export, import, upload and scanning of a project. */

import { download, get, post, query, request } from "./api.js";
import { el, field, openDialog, plural, select } from "./dom.js";
import { notify, notifyError } from "./notices.js";
import { FINISHED, stateLabel, statesOf } from "./states.js";

const EXPORTS = [["coco", "COCO JSON"], ["sa1b", "SA-1B"], ["yolo", "YOLO segmentation"], ["voc", "Pascal VOC"], ["cvat", "CVAT XML"], ["label-studio", "Label Studio"], ["labelme", "LabelMe, X-AnyLabeling"], ["roboflow", "COCO in Roboflow's folders"], ["datumaro", "Datumaro"], ["png", "Label PNG"], ["geojson", "GeoJSON"]];
const IMPORTS = [
  ["", "Detect"],
  ["coco", "COCO"],
  ["cvat", "CVAT XML"],
  ["datumaro", "Datumaro"],
  ["label-studio", "Label Studio"],
  ["labelme", "LabelMe, X-AnyLabeling"],
  ["png", "Label PNG"],
  ["sa1b", "SA-1B"],
  ["voc", "Pascal VOC"],
  ["yolo", "YOLO segmentation"],
];
const POLL_MS = 700;
const TIMEOUT_S = 600; // for large files

export function openExport({ id, name }, images) {
  const format = select(EXPORTS, "coco");
  const share = el("input", { type: "number", min: "0", max: "90", step: "5", value: "0" });
  const states = statesOf(images).map((state) => [state, el("input", { type: "checkbox", checked: FINISHED.includes(state) })]);
  const copies = el("input", { type: "checkbox" });
  const failure = el("p.failure", { role: "alert" });
  const button = el("button.primary", { type: "submit" }, "Download");
  const form = el(
    "form",
    {},
    field("Format", format),
    field("Validation split, %", share, "Chosen by image content: always the same images"),
    el(
      "fieldset",
      {},
      el("legend", {}, "Images"),
      el("div.choices", {}, ...states.map(([state, box]) => el("label.check", {}, box, stateLabel(state), el("span.count", {}, images[state].num_images.toLocaleString("en"))))),
      el("p.hint", {}, "Images without masks are exported only if they are submitted or accepted."),
    ),
    el("label.check", {}, copies, "Include the images"),
    failure,
    el("footer", {}, button),
  );
  const dialog = openDialog(`Export ${name}`, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const chosen = states.filter(([, box]) => box.checked).map(([state]) => state);
    failure.textContent = chosen.length ? "" : "Choose at least one kind of images.";
    if (!chosen.length) return;
    button.disabled = true;
    button.textContent = "Exporting…";
    const values = { format: format.value, val_fraction: share.value / 100, states: chosen, copy_images: copies.checked };
    try {
      const blob = await download(`projects/${id}/export?${query(values)}`);
      saveFile(blob, `${name.replace(/[^\p{L}\p{N}_-]+/gu, "-")}-${format.value}.zip`);
      dialog.close();
    } catch (error) {
      failure.textContent = error.message;
    } finally {
      button.disabled = false;
      button.textContent = "Download";
    }
  });
}

function saveFile(blob, name) {
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
  const button = el("button.primary", { type: "submit" }, "Import");
  const form = el("form", {}, el("p.quiet", {}, "A JSON or XML file, or a zip of files. Masks are matched to images by path or name; existing masks are skipped."), field("Format", format), field("File", file), el("label.check", {}, boxes, "Boxes without a mask are masks"), el("label.check", {}, binary, "Each label image is one mask"), failure, el("footer", {}, button));
  const dialog = openDialog(`Import into ${name}`, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const values = { boxes: boxes.checked, binary: binary.checked, ...(format.value && { format: format.value }) };
      const report = await request("POST", `projects/${id}/import?${query(values)}`, file.files[0], { timeoutS: TIMEOUT_S });
      dialog.close();
      notify(`${plural(report.num_added, "mask")} added on ${plural(report.num_images, "image")}, ${report.num_known} known already, ${report.num_left_out} left out.`, report.num_left_out ? "info" : "good");
      const lines = [...report.faults, ...report.notes];
      if (lines.length) openDialog(report.faults.length ? "Left out" : "Notes", el("ul", {}, ...lines.map((line) => el("li", {}, line))));
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
  const button = el("button.primary", { type: "submit" }, "Upload");
  const form = el("form", {}, field("Images", files), progress, failure, el("footer", {}, button));
  const dialog = openDialog(`Add images to ${name}`, form);
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
      notify(`${plural(all.length - faults.length, "image")} added.`, "good");
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
  const found = `${plural(added, "new image")}, ${known.toLocaleString("en")} known.`;
  const left = Object.entries(others);
  if (!twice && !faulty && !left.length) {
    notify(`Scan finished: ${found}`, "good");
    return;
  }
  const list = (title, lines, count) => count > 0 && el("section", {}, el("h3", {}, `${title}: ${count.toLocaleString("en")}`), el("ul.lines", {}, ...lines.map((line) => el("li", {}, line)), count > lines.length && el("li.quiet", {}, "…")));
  openDialog(
    "Scan finished",
    el(
      "div.report",
      {},
      el("p", {}, found),
      list("Not added", faults, faulty),
      list("The same content as another image", duplicates.map(([path, other]) => `${path}: as ${other}`), twice),
      list("Left out", left.map(([kind, count]) => `${kind}: ${count.toLocaleString("en")}`), left.reduce((sum, [, count]) => sum + count, 0)),
    ),
  );
}

export async function scanFolder({ id }, done) {
  try {
    let job = await post(`projects/${id}/scan`, {});
    notify("Scanning the folder…");
    while (["waiting", "running"].includes(job.state)) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      job = await get(`jobs/${job.id}`);
    }
    if (job.state === "failed") notify(`Scan failed: ${job.error}`, "bad");
    else showScan(job.data.report);
    done();
  } catch (error) {
    notifyError(error);
  }
}
