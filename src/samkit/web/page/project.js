/** The page of one project: gallery with filters, statistics, its model, and actions. */

import { get, isAdmin, isReviewer, post } from "./api.js";
import { showClasses } from "./classes.js";
import { el } from "./dom.js";
import { openExport, openImport, openUpload, scanFolder } from "./exchange.js";
import { Gallery } from "./gallery.js";
import { galleryFilters, searchOf } from "./gallery_filters.js";
import { icon } from "./icons.js";
import { showModel } from "./model.js";
import { notify, notifyError } from "./notices.js";
import { workIn } from "./own_work.js";
import { showPage } from "./shell.js";
import { showStatistics } from "./statistics.js";
import { showTeam } from "./team.js";
import { listed, shownNumber, t } from "./texts.js";
import { showVideos } from "./videos.js";

export async function openProject(root, { id, tab }, app) {
  const project = await get(`projects/${id}`);
  const statistics = await get(`projects/${id}/statistics?days=${tab === "statistics"}`);
  const tabs = el(
    "nav.tabs",
    { "aria-label": t("Project views") },
    el("a", { href: `#/project/${id}`, "aria-current": tab ? null : "page" }, t("Images")),
    el("a", { href: `#/project/${id}/videos`, "aria-current": tab === "videos" ? "page" : null }, t("Videos")),
    el("a", { href: `#/project/${id}/statistics`, "aria-current": tab === "statistics" ? "page" : null }, t("Statistics")),
    el("a", { href: `#/project/${id}/classes`, "aria-current": tab === "classes" ? "page" : null }, t("Classes")),
    isReviewer() && el("a", { href: `#/project/${id}/team`, "aria-current": tab === "team" ? "page" : null }, t("Team")),
    el("a", { href: `#/project/${id}/model`, "aria-current": tab === "model" ? "page" : null }, t("Model")),
  );
  const head = el("div.head", {}, el("h1", {}, project.name), tabs, el("span.grow"), ...(tab === "videos" ? [] : actions(project, statistics, app.reload)));
  if (tab === "statistics") {
    const place = el("div.statistics");
    showPage(root, [[t("Projects"), "#/"]], project.name, head, place);
    await showStatistics(place, project, statistics);
    return {};
  }
  if (tab === "classes") {
    const place = el("div.statistics");
    showPage(root, [[t("Projects"), "#/"]], project.name, head, place);
    await showClasses(place, project);
    return {};
  }
  if (tab === "team") {
    const place = el("div.statistics");
    showPage(root, [[t("Projects"), "#/"]], project.name, head, place);
    await showTeam(place, project);
    return {};
  }
  if (tab === "videos") {
    const place = el("div.statistics");
    showPage(root, [[t("Projects"), "#/"]], project.name, head, place);
    await showVideos(place, project, app.reload);
    return {};
  }
  if (tab === "model") {
    const place = el("div.statistics");
    showPage(root, [[t("Projects"), "#/"]], project.name, head, place);
    return showModel(place, project);
  }
  const gallery = new Gallery(project, searchOf(project));
  const filters = await galleryFilters(gallery, project, statistics.images);
  showPage(root, [[t("Projects"), "#/"]], project.name, head, filters, gallery.selection?.element, gallery.element);
  await gallery.open();
  return gallery;
}

/** How many returned and assigned images come first. */
function waitingOf({ id }) {
  const { num_returned: returned, num_assigned: assigned } = workIn(id);
  const words = [returned > 0 && t("{n} returned", { n: returned }), assigned > 0 && t("{n} for you", { n: assigned })].filter(Boolean);
  return words.length ? [el("span.count", {}, listed(words))] : [];
}

function actions(project, { images }, reload) {
  const waiting = images.submitted.num_images;
  const button = (glyph, text, act, kind = "button", title = null) => el(kind, { type: "button", title, onclick: act }, icon(glyph), text);
  const annotate = async () => {
    try {
      const { lease } = await post(`projects/${project.id}/next`);
      if (lease) location.hash = `#/image/${lease.image.id}`;
      else notify(t("Nothing to annotate now: every image is submitted, set aside or held by somebody."));
    } catch (error) {
      notifyError(error);
    }
  };
  return [
    isAdmin() && button("image", t("Add"), () => openUpload(project, reload), "button.wide-only", t("Add images")),
    isAdmin() && button("folder", t("Scan"), () => scanFolder(project, reload), "button.wide-only", t("Look for new images in the folder")),
    isAdmin() && button("plus", t("Import"), () => openImport(project, reload), "button.wide-only"),
    isReviewer() && button("export", t("Export"), () => openExport(project, images)),
    isReviewer() && el("a.button", { href: `#/project/${project.id}/review` }, icon("check"), t("Review"), waiting > 0 && el("span.count", {}, shownNumber(waiting))),
    el("button.primary", { type: "button", onclick: annotate }, icon("point"), t("Annotate"), ...waitingOf(project)),
  ].filter(Boolean);
}
