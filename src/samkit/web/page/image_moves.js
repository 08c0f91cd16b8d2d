/** Going from image to image: to the previous and the next one, or to one by number or name. */

import { get, getItems, query } from "./api.js";
import { el, fill, openDialog } from "./dom.js";
import { notify, notifyError } from "./notices.js";
import { STATE_WORDS } from "./states.js";
import { t } from "./texts.js";

const MAX_FOUND = 20;
const SETTLE_MS = 150; // after typing

/** @typedef {{number: number, num_images: number, num_finished: number, previous_id: number | null, next_id: number | null}} Place */

export class ImageMoves {
  /** @param {import("./studio_state.js").StudioState} state */
  constructor(state) {
    this.state = state;
    /** @type {Place | null} */
    this.place = null;
  }

  /** Find out where the image is; the page works without knowing. */
  async load() {
    this.place = await get(`images/${this.state.imageId}/place`).catch(() => null);
    this.state.update();
  }

  /** @param {"previous" | "next"} way */
  go(way) {
    const { place } = this;
    if (!place) return;
    const id = place[`${way}_id`];
    if (id === null) notify(way === "next" ? t("This is the last image.") : t("This is the first image."));
    else location.hash = `#/image/${id}`;
  }

  /** Ask for a number or a part of a name. */
  ask() {
    const { project } = this.state;
    if (!project) return;
    const input = el("input", { autocomplete: "off", autofocus: true, "aria-label": t("Number or part of the name"), placeholder: t("12, or cell_0") });
    const found = el("ul.found", { "aria-label": t("Images") });
    const form = el("form", {}, input, found);
    const dialog = openDialog(t("Go to image"), form);
    let timer = 0;
    let images = [];
    const open = (id) => {
      dialog.close();
      location.hash = `#/image/${id}`;
    };
    const row = ({ id, path, review }) => el("li", {}, el("button", { type: "button", onclick: () => open(id) }, el("span.name", {}, path), el(`span.badge.${review}`, {}, STATE_WORDS[review])));
    const look = async () => {
      const wanted = input.value.trim();
      images = wanted ? await this.find(project.id, wanted) : [];
      fill(found, ...images.map(row), wanted && !images.length && el("li.quiet", {}, t("No such image.")));
    };
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => look().catch(notifyError), SETTLE_MS);
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      clearTimeout(timer);
      await look().catch(notifyError);
      if (images.length) open(images[0].id);
    });
  }

  /** The image of this number first, then those whose name contains it. */
  async find(projectId, wanted) {
    const path = `projects/${projectId}/images`;
    const isNumber = /^[1-9]\d*$/.test(wanted);
    const [nth, named] = await Promise.all([
      isNumber ? getItems(`${path}?${query({ skip: String(Number(wanted) - 1), limit: "1" })}`) : [],
      getItems(`${path}?${query({ name: wanted, limit: String(MAX_FOUND) })}`),
    ]);
    return [...nth, ...named.filter(({ id }) => id !== nth[0]?.id)];
  }
}
