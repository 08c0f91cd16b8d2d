/**
 * A list of masks of which only the rows in sight are in the document, so that 5,000 masks cost no more
 * than a few. The newest mask is at the top.
 *
 * @typedef {import("./saved_masks.js").SavedMask} SavedMask
 */

import { el, fill } from "./dom.js";
import { t } from "./texts.js";

const ROW_PX = 32; // as in the style sheet
const ROWS_AROUND = 6; // out of sight, there already when the list is scrolled

export class MaskList {
  /**
   * @param {object} options
   * @param {(item: SavedMask) => Node[]} options.row content of a row
   * @param {(item: SavedMask) => string} options.signature changes whenever the row is to be drawn anew
   * @param {(item: SavedMask) => boolean} options.isFaded
   * @param {(item: SavedMask | null) => void} options.over the pointer or focus is over a mask now; null once it has left
   * @param {string} options.empty words for no masks
   */
  constructor({ row, signature, isFaded, over, empty }) {
    Object.assign(this, { row, signature, isFaded, over, empty });
    /** @type {SavedMask[]} */
    this.items = [];
    this.current = null;
    this.rows = new Map(); // { node, signature } by key, of the rows in the document
    this.list = el("ul", { "aria-label": t("Masks") });
    this.element = el("div.mask-list", { tabindex: "-1" }, this.list);
    this.element.addEventListener("scroll", () => this.layout(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(this.element);
  }

  /**
   * @param {SavedMask[]} items the newest last
   * @param {string | null} current key of the mask to mark, and to bring into sight when it is another one
   */
  show(items, current) {
    this.items = items;
    const follows = current !== null && current !== this.current;
    this.current = current;
    if (follows) this.bringIntoSight(current);
    this.layout();
  }

  bringIntoSight(key) {
    const at = this.items.findIndex((one) => one.key === key);
    if (at < 0) return;
    const top = (this.items.length - 1 - at) * ROW_PX;
    const { scrollTop, clientHeight } = this.element;
    const bottom = top + ROW_PX;
    this.list.style.height = `${this.items.length * ROW_PX}px`; // or the list could not scroll so far
    if (top < scrollTop) this.element.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.element.scrollTop = bottom - clientHeight;
  }

  layout() {
    const { items, list, element } = this;
    if (!items.length) {
      this.rows.clear();
      list.style.height = "";
      if (!list.querySelector(".empty")) fill(list, el("li.empty", {}, this.empty));
      return;
    }
    list.querySelector(".empty")?.remove();
    list.style.height = `${items.length * ROW_PX}px`;
    const first = Math.max(0, Math.floor(element.scrollTop / ROW_PX) - ROWS_AROUND);
    const last = Math.min(items.length, Math.ceil((element.scrollTop + element.clientHeight) / ROW_PX) + ROWS_AROUND);
    const before = this.rows;
    this.rows = new Map();
    for (let place = first; place < last; place++) {
      const item = items[items.length - 1 - place];
      const node = this.nodeOf(item, before.get(item.key));
      const position = String(place + 1);
      if (node.getAttribute("aria-posinset") !== position) {
        node.setAttribute("aria-posinset", position);
        node.style.top = `${place * ROW_PX}px`;
      }
      if (node.getAttribute("aria-setsize") !== String(items.length)) node.setAttribute("aria-setsize", items.length);
      before.delete(item.key);
    }
    for (const { node } of before.values()) node.remove();
    this.putInOrder();
  }

  /** The row of a mask: the one in the document if nothing about it has changed. */
  nodeOf(item, known) {
    const isCurrent = item.key === this.current;
    const signature = `${isCurrent} ${this.isFaded(item)} ${this.signature(item)}`;
    const node = known?.node ?? el("li", { onmouseenter: () => this.over(item), onmouseleave: () => this.over(null), onfocusin: () => this.over(item), onfocusout: () => this.over(null) });
    if (known?.signature !== signature) {
      node.className = this.isFaded(item) ? "faded" : "";
      if (isCurrent) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
      fill(node, ...this.row(item));
    }
    this.rows.set(item.key, { node, signature });
    return node;
  }

  /** Rows in the order of the list, for whoever goes through them by Tab. */
  putInOrder() {
    let at = this.list.firstChild;
    for (const { node } of this.rows.values()) {
      if (node === at) at = at.nextSibling;
      else this.list.insertBefore(node, at);
    }
  }
}
