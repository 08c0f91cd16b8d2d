/**
 * Images of a project as a grid. Lists come in pages as they are scrolled to, and only the rows in
 * sight are in the document, so that 100,000 images scroll as 100 do; masks are drawn over a
 * thumbnail when it has stayed in sight for a moment.
 */

import { get, getItems, isReviewer, query } from "./api.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";
import { MaskLayer, THUMBNAIL_CELLS, maskColor } from "./layers.js";
import { announce, notifyError } from "./notices.js";
import { decodeRle } from "./rle.js";
import { Selection } from "./selection.js";
import { STATE_WORDS } from "./states.js";
import { listed, t, tn } from "./texts.js";
import { PRIORITY_WORDS } from "./words.js";

const PAGE = 200;
const CARD_WIDTH = 224; // at least
const GAP = 12;
const CAPTION = 46; // height of the text under a picture
const ROWS_AROUND = 2; // out of sight, rendered ahead
const SETTLE_MS = 150;
const MAX_OVERLAYS = 400;

export class Gallery {
  constructor(project, filter) {
    this.project = project;
    this.filter = filter;
    this.images = [];
    this.after = 0; // null once all are loaded
    this.loading = null;
    this.cards = new Map(); // by index
    this.overlays = new Map(); // by image and version, the last used last
    this.withMasks = true;
    this.numFound = 0; // images that the search finds, also those that are not loaded
    this.selection = isReviewer() ? new Selection(this) : null;
    this.classes = new Map();
    this.space = el("div.gallery-space", { role: "list", "aria-label": t("Images") });
    this.empty = el("p.message", { hidden: true }, t("No images."));
    this.element = el("div.gallery", { tabindex: "0", "aria-label": t("Images") }, this.space, this.empty);
    this.element.addEventListener("scroll", () => this.layout(), { passive: true });
    this.observer = new ResizeObserver(() => this.layout());
  }

  async open() {
    const classes = await getItems(`projects/${this.project.id}/classes`);
    this.classes = new Map(classes.map((one) => [one.id, one]));
    this.observer.observe(this.element);
    await this.show(this.filter);
  }

  close() {
    this.closed = true;
    this.observer.disconnect();
    clearTimeout(this.settling);
  }

  async show(filter) {
    if (filter !== this.filter) this.selection?.clear();
    this.filter = filter;
    this.images = [];
    this.after = 0;
    this.loading = null;
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.element.scrollTop = 0;
    await this.more();
    const count = tn("{n} image", "{n} images", this.images.length);
    announce(!this.images.length ? t("No images.") : this.after === null ? `${count}${t(".")}` : t("{images} and more.", { images: count }));
  }

  /** Load the next page of the list. */
  more() {
    if (this.after === null || this.closed) return null;
    const { filter } = this;
    this.loading ??= get(`projects/${this.project.id}/images?${query({ ...filter, after: this.after, limit: PAGE })}`)
      .then(({ items, next_after: after }) => {
        if (filter !== this.filter) return;
        this.images.push(...items);
        this.after = after;
        this.loading = null;
        this.empty.hidden = this.images.length > 0;
        this.layout();
      })
      .catch((error) => {
        this.loading = null;
        throw error;
      });
    return this.loading;
  }

  layout() {
    const { clientHeight: height, scrollTop: top } = this.element;
    const { clientWidth: width } = this.space;
    if (!width || this.closed) return;
    const columns = Math.max(width < 500 ? 2 : 1, Math.floor((width + GAP) / (CARD_WIDTH + GAP)));
    const cardWidth = (width - GAP * (columns - 1)) / columns;
    const rowHeight = Math.round(cardWidth * 0.72) + CAPTION + GAP;
    const rows = Math.ceil(this.images.length / columns);
    const first = Math.max(0, Math.floor(top / rowHeight) - ROWS_AROUND) * columns;
    const last = Math.min(this.images.length, (Math.ceil((top + height) / rowHeight) + ROWS_AROUND) * columns);
    this.space.style.height = `${rows * rowHeight}px`;
    for (const [index, card] of this.cards) {
      if (index < first || index >= last) {
        card.remove();
        this.cards.delete(index);
      }
    }
    for (let index = first; index < last; index++) {
      if (!this.cards.has(index)) {
        const card = this.card(this.images[index], index);
        this.cards.set(index, card);
        const following = [...this.cards.keys()].filter((other) => other > index).sort((a, b) => a - b)[0];
        this.space.insertBefore(card, following === undefined ? null : this.cards.get(following)); // in reading order
      }
      const { style } = this.cards.get(index);
      style.width = `${cardWidth}px`;
      style.height = `${rowHeight - GAP}px`;
      style.transform = `translate(${(index % columns) * (cardWidth + GAP)}px, ${Math.floor(index / columns) * rowHeight}px)`;
    }
    if (last + columns * 10 >= this.images.length) this.more()?.catch(notifyError);
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.drawOverlays(), SETTLE_MS);
  }

  card(image, index) {
    const { id, path, review, priority, batch, num_open_comments: comments, num_masks: masks, size_hw: [height, width] } = image;
    const urgency = priority !== "normal" && el(`span.badge.${priority}`, {}, PRIORITY_WORDS[priority]);
    const numMasks = tn("{n} mask", "{n} masks", masks);
    const numComments = tn("{n} open comment", "{n} open comments", comments);
    const toReview = isReviewer() && review === "submitted";
    const href = toReview ? `#/project/${this.project.id}/review/${id}` : `#/image/${id}`;
    const picture = el("img", { src: `/api/images/${id}/content?max_side=256`, alt: "", width, height, decoding: "async", onerror: () => picture.replaceWith(el("span.broken", {}, t("cannot be read"))) });
    const { selection } = this;
    const pick = selection && el("input.pick", { type: "checkbox", checked: selection.has(image), "aria-label": t("Select {name}", { name: path }), onclick: ({ target, shiftKey }) => selection.toggle(index, target.checked, shiftKey) });
    return el(
      "div.image-card",
      { role: "listitem", "data-image": id },
      pick,
      el(
        "a",
        { href, "aria-label": listed([path, numMasks, STATE_WORDS[review], urgency && t("{priority} priority", { priority: PRIORITY_WORDS[priority] }), comments && numComments].filter(Boolean)) },
        el("span.picture", {}, picture, this.withMasks && this.overlays.get(keyOf(image))),
        el("span.caption", {}, el("span.name", { title: batch ? t("{path}, batch {batch}", { path, batch }) : path }, path), el("span.line", {}, el(`span.badge.${review}`, {}, STATE_WORDS[review]), urgency, comments > 0 && el("span.badge", { title: numComments }, icon("comment"), String(comments)), el("span.quiet", {}, numMasks))),
      ),
    );
  }

  /** Show which images are selected. */
  showChosen() {
    for (const [index, card] of this.cards) {
      const box = card.querySelector(".pick");
      box.checked = this.selection.has(this.images[index]);
      card.classList.toggle("chosen", box.checked);
    }
    this.element.classList.toggle("choosing", this.selection.chosen.size > 0);
  }

  /** Show the new state of images. */
  replace(changed) {
    const byId = new Map(changed.map((image) => [image.id, image]));
    this.images.forEach((image, index) => {
      if (!byId.has(image.id)) return;
      this.images[index] = byId.get(image.id);
      this.cards.get(index)?.remove();
      this.cards.delete(index);
    });
    this.layout();
  }

  showMasks(on) {
    this.withMasks = on;
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.layout();
  }

  /** Draw masks over the visible thumbnails, one after the other. */
  async drawOverlays() {
    if (!this.withMasks) return;
    const run = (this.run = (this.run ?? 0) + 1);
    for (const [index, card] of [...this.cards].sort((a, b) => a[0] - b[0])) {
      const image = this.images[index];
      if (!image?.num_masks || card.querySelector("canvas") || this.closed) continue;
      if (this.run !== run) return; // the user has scrolled on
      let overlay = this.overlays.get(keyOf(image));
      try {
        overlay ??= drawOverlay(image, await getItems(`images/${image.id}/annotations`), this.classes);
      } catch {
        continue; // the thumbnail stays as it is
      }
      this.overlays.delete(keyOf(image));
      this.overlays.set(keyOf(image), overlay);
      if (this.overlays.size > MAX_OVERLAYS) this.overlays.delete(this.overlays.keys().next().value);
      card.querySelector(".picture").append(overlay);
    }
  }
}

const keyOf = ({ id, version }) => `${id}:${version}`;

function drawOverlay({ size_hw: [height, width] }, annotations, classes) {
  const scale = 320 / Math.max(height, width);
  const canvas = el("canvas", { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)), "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const view = { scale, x: 0, y: 0, width: canvas.width, height: canvas.height };
  const sorted = annotations.map((one, i) => ({ ...one, number: i })).sort((a, b) => b.area_px - a.area_px);
  for (const { rle, class_id: classId, number } of sorted) {
    const layer = new MaskLayer(decodeRle(rle), classes.get(classId)?.color ?? maskColor(number), THUMBNAIL_CELLS);
    layer.build();
    layer.drawTint(context, view, 0.5);
    layer.drawOutline(context, view, { width: 1.5 });
  }
  return canvas;
}
