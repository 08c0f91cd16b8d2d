/**
 * A strip of thumbnails of the project's images, with their states. Only those in sight are in the
 * document and have pictures; lists come in pages as they are scrolled to.
 */

import { get, query } from "./api.js";
import { el, fill } from "./dom.js";
import { STATE_WORDS } from "./states.js";
import { t } from "./texts.js";

const CELL_PX = 108; // the width of an image's place, as in the style sheet
const PAGE = 100;
const AROUND = 3; // images out of sight that are rendered ahead

export class Strip {
  /** @param {{imageId: number}} state of the studio @param {{place: object | null}} moves */
  constructor(state, moves) {
    Object.assign(this, { state, moves });
    /** @type {Map<number, object[] | null>} by number of the page; null while it is loaded */
    this.pages = new Map();
    this.isOpen = false;
    this.list = el("ol", { "aria-label": t("Images") });
    this.element = el("nav.strip", { "aria-label": t("Strip of images"), hidden: true }, this.list);
    this.element.addEventListener("scroll", () => this.layout(), { passive: true });
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(this.element);
  }

  close() {
    this.closed = true;
    this.observer.disconnect();
  }

  /** Show or hide it, with the open image in the middle. */
  show(isOpen) {
    const { place } = this.moves;
    if (this.isOpen === (isOpen && place !== null)) return;
    this.isOpen = !this.isOpen;
    this.element.hidden = !this.isOpen;
    if (!this.isOpen) return;
    this.list.style.width = `${place.num_images * CELL_PX}px`;
    this.element.scrollLeft = (place.number - 0.5) * CELL_PX - this.element.clientWidth / 2;
    this.layout();
  }

  /** The image's state is another one now. */
  refresh() {
    if (!this.isOpen) return;
    const { image } = this.state;
    const found = [...this.pages.values()].flatMap((page) => page ?? []).find(({ id }) => id === image?.id);
    if (!found || found.review === image.review) return;
    Object.assign(found, image);
    this.layout();
  }

  layout() {
    if (!this.isOpen || this.closed) return;
    const { scrollLeft, clientWidth } = this.element;
    const { num_images: count } = this.moves.place;
    const first = Math.max(0, Math.floor(scrollLeft / CELL_PX) - AROUND);
    const last = Math.min(count, Math.ceil((scrollLeft + clientWidth) / CELL_PX) + AROUND);
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page++) this.load(page);
    const before = new Map([...this.list.children].map((node) => [node.dataset.shown, node]));
    const nodes = [];
    for (let at = first; at < last; at++) {
      const image = this.pages.get(Math.floor(at / PAGE))?.[at % PAGE];
      if (!image) continue;
      const shown = `${at} ${image.id} ${image.review}`;
      nodes.push(before.get(shown) ?? this.cell(at, image, shown, count));
    }
    if (nodes.length !== this.list.children.length || nodes.some((node, i) => node !== this.list.children[i])) fill(this.list, ...nodes);
  }

  load(page) {
    if (this.pages.has(page)) return;
    this.pages.set(page, null);
    get(`projects/${this.state.project.id}/images?${query({ skip: page * PAGE, limit: PAGE })}`).then(
      ({ items }) => {
        this.pages.set(page, items);
        this.layout();
      },
      () => this.pages.delete(page), // it is asked for again when the strip is scrolled
    );
  }

  cell(at, { id, path, review }, shown, count) {
    const picture = el("img", { src: `/api/images/${id}/content?max_side=128`, alt: "", loading: "lazy", decoding: "async", onerror: () => picture.replaceWith(el("span.broken", {}, t("cannot be read"))) });
    const isOpen = id === this.state.imageId;
    const node = el(
      "li",
      { "data-shown": shown, "aria-posinset": String(at + 1), "aria-setsize": String(count) },
      el(
        `a.${review}`,
        { href: `#/image/${id}`, title: `${path}: ${STATE_WORDS[review]}`, "aria-label": `${at + 1}: ${path}, ${STATE_WORDS[review]}`, "aria-current": isOpen ? "true" : null, "data-key": `strip-${id}` },
        picture,
        el("span.line", {}, el("span.state", { "aria-hidden": "true" }), el("span.number", {}, String(at + 1))),
      ),
    );
    node.style.left = `${at * CELL_PX}px`;
    return node;
  }
}
