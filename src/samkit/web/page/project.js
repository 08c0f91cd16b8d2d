/** The page of one project: gallery with filters, statistics, its model, and actions. */

import { get, isAdmin, isReviewer, post } from "./api.js";
import { showClasses } from "./classes.js";
import { el, fill, plural, select } from "./dom.js";
import { openExport, openImport, openUpload, scanFolder } from "./exchange.js";
import { Gallery } from "./gallery.js";
import { icon } from "./icons.js";
import { showModel } from "./model.js";
import { notify, notifyError } from "./notices.js";
import { showPage } from "./shell.js";
import { stateLabel, statesOf } from "./states.js";
import { showStatistics } from "./statistics.js";

const STAGES = [["", "All stages"], ["assisted-manual", "Assisted manual"], ["semi-automatic", "Semi-automatic"], ["fully-automatic", "Fully automatic"], ["imported", "Imported"]];

export async function openProject(root, { id, tab }, app) {
  const project = await get(`projects/${id}`);
  const statistics = await get(`projects/${id}/statistics?days=${tab === "statistics"}`);
  const tabs = el(
    "nav.tabs",
    { "aria-label": "Project views" },
    el("a", { href: `#/project/${id}`, "aria-current": tab ? null : "page" }, "Images"),
    el("a", { href: `#/project/${id}/statistics`, "aria-current": tab === "statistics" ? "page" : null }, "Statistics"),
    el("a", { href: `#/project/${id}/classes`, "aria-current": tab === "classes" ? "page" : null }, "Classes"),
    el("a", { href: `#/project/${id}/model`, "aria-current": tab === "model" ? "page" : null }, "Model"),
  );
  const head = el("div.head", {}, el("h1", {}, project.name), tabs, el("span.grow"), ...actions(project, statistics, app.reload));
  if (tab === "statistics") {
    const place = el("div.statistics");
    showPage(root, [["Projects", "#/"]], project.name, head, place);
    await showStatistics(place, project, statistics);
    return {};
  }
  if (tab === "classes") {
    const place = el("div.statistics");
    showPage(root, [["Projects", "#/"]], project.name, head, place);
    await showClasses(place, project);
    return {};
  }
  if (tab === "model") {
    const place = el("div.statistics");
    showPage(root, [["Projects", "#/"]], project.name, head, place);
    return showModel(place, project);
  }
  const gallery = new Gallery(project, { review: "", stage: "" });
  showPage(root, [["Projects", "#/"]], project.name, head, filters(gallery, statistics), gallery.element);
  await gallery.open();
  return gallery;
}

function actions(project, { images }, reload) {
  const waiting = images.submitted.num_images;
  const button = (glyph, text, act, kind = "button", title = null) => el(kind, { type: "button", title, onclick: act }, icon(glyph), text);
  const annotate = async () => {
    try {
      const { lease } = await post(`projects/${project.id}/next`);
      if (lease) location.hash = `#/image/${lease.image.id}`;
      else notify("Nothing to annotate now: every image is submitted, set aside or held by somebody.");
    } catch (error) {
      notifyError(error);
    }
  };
  return [
    isAdmin() && button("image", "Add", () => openUpload(project, reload), "button.wide-only", "Add images"),
    isAdmin() && button("folder", "Scan", () => scanFolder(project, reload), "button.wide-only", "Look for new images in the folder"),
    isAdmin() && button("plus", "Import", () => openImport(project, reload), "button.wide-only"),
    isReviewer() && button("export", "Export", () => openExport(project, images)),
    isReviewer() && el("a.button", { href: `#/project/${project.id}/review` }, icon("check"), "Review", waiting > 0 && el("span.count", {}, waiting.toLocaleString("en"))),
    el("button.primary", { type: "button", onclick: annotate }, icon("point"), "Annotate"),
  ].filter(Boolean);
}

function filters(gallery, { images }) {
  const total = Object.values(images).reduce((sum, { num_images: count }) => sum + count, 0);
  const chips = el("div.chips", { role: "group", "aria-label": "Review state" });
  const draw = () =>
    fill(
      chips,
      ...["", ...statesOf(images)].map((value) => {
        const count = value ? images[value].num_images : total;
        const isOn = gallery.filter.review === value;
        return el("button.chip", { type: "button", "data-key": `review-${value}`, "aria-pressed": String(isOn), onclick: () => set({ review: value }) }, value ? stateLabel(value) : "All", el("span.count", {}, count.toLocaleString("en")));
      }),
    );
  const set = (change) => {
    gallery.show({ ...gallery.filter, ...change }).catch(notifyError);
    draw();
  };
  const stages = select(STAGES, "", { "aria-label": "Stage", onchange: () => set({ stage: stages.value }) });
  const masks = el("label.check", {}, el("input", { type: "checkbox", checked: true, onchange: ({ target }) => gallery.showMasks(target.checked) }), "Masks");
  draw();
  return el("div.filters", {}, chips, stages, masks, el("span.grow"), el("span.quiet", {}, plural(total, "image")));
}
