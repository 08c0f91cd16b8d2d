/** The page of all projects, with a form for a new one. */

import { get, isAdmin, listAll, post, signedIn } from "./api.js";
import { el, field, openDialog } from "./dom.js";
import { icon } from "./icons.js";
import { showPage } from "./shell.js";
import { listed, t, tn } from "./texts.js";

export async function openProjects(root) {
  const projects = await listAll("projects");
  const cards = projects.map((project) => projectCard(project));
  const add = isAdmin() && el("button.primary", { type: "button", onclick: newProject }, icon("plus"), t("New project"));
  const none = el("p.message", {}, isAdmin() ? t("No projects yet. A project is a folder of images.") : t("No projects yet. Ask an admin to create one."));
  showPage(root, [], t("Projects"), el("div.head", {}, el("h1", {}, t("Projects")), add), projects.length ? el("ul.cards", {}, ...cards) : none);
  return {};
}

function projectCard({ id, name, root }) {
  const counts = el("p.quiet", {}, " ");
  const bar = el("div.progress", { "aria-hidden": "true" });
  const cover = el("div.cover");
  get(`projects/${id}/statistics?days=false`).then((all) => showCounts(all, counts, bar), () => {});
  get(`projects/${id}/images?limit=3`).then(({ items }) => {
    cover.append(...items.map((image) => el("img", { src: `/api/images/${image.id}/content?max_side=256`, alt: "", loading: "lazy" })));
  }, () => {});
  return el("li", {}, el("a.card.project", { href: `#/project/${id}` }, cover, el("h2", {}, name), root && el("p.quiet.path", { title: root }, root), bar, counts));
}

function showCounts({ images, videos }, counts, bar) {
  const total = Object.values(images).reduce((sum, { num_images: count }) => sum + count, 0);
  const masks = Object.values(images).reduce((sum, { num_masks: count }) => sum + count, 0);
  const clips = Object.values(videos).reduce((sum, count) => sum + count, 0);
  const ofVideos = clips ? listed([tn("{n} video", "{n} videos", clips), t("{n} accepted", { n: videos.accepted })]) : null;
  const ofImages = listed([tn("{n} image", "{n} images", total), tn("{n} mask", "{n} masks", masks), t("{n} accepted", { n: images.accepted.num_images })]);
  counts.textContent = [total || !clips ? ofImages : null, ofVideos].filter(Boolean).join(t("; "));
  for (const state of ["accepted", "submitted", "returned", "skipped", "unusable"]) {
    const part = el(`span.${state}`);
    part.style.width = `${(100 * (images[state].num_images + videos[state])) / Math.max(1, total + clips)}%`;
    bar.append(part);
  }
}

function newProject() {
  const name = el("input", { required: true, maxlength: "200" });
  const folder = el("input", { required: true });
  const failure = el("p.failure", { role: "alert" });
  const hint = signedIn.local ? "" : t("Must be in a folder that the server allows");
  const form = el("form", {}, field(t("Name"), name), field(t("Folder of images"), folder, hint), failure, el("footer", {}, el("button.primary", { type: "submit" }, t("Create"))));
  const dialog = openDialog(t("New project"), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const project = await post("projects", { name: name.value, root: folder.value });
      await post(`projects/${project.id}/scan`, {});
      dialog.close();
      location.hash = `#/project/${project.id}`;
    } catch (error) {
      failure.textContent = error.message;
    }
  });
}
