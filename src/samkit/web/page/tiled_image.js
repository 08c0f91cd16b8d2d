/**
 * An image that is too large to be loaded whole: the tiles that are in view, of the level that is sharp
 * at the current zoom, above coarser ones that are there already.
 */

import { ApiError, OFFLINE, get } from "./api.js";
import { t } from "./texts.js";
import { PIXELATE_FROM } from "./view.js";

const AT_ONCE = 6; // tiles that are being loaded
const MIN_CACHED = 64; // tiles of 1 MB each that stay when they leave the view
const AGAIN_MS = 3000; // after which a tile that could not be loaded is asked for again

export class TiledImage {
  /** @param {{id: number, size_hw: [number, number]}} image @param {() => void} onChange */
  constructor({ id, size_hw: [height, width] }, onChange) {
    Object.assign(this, { id, width, height, onChange });
    this.isTiled = true;
    this.side = Math.max(width, height);
    /** Width and height of each level; the first is the image's own. @type {[number, number][]} */
    this.levels = [];
    this.tileSide = 0;
    this.range = null; // values that become black and white, as "LOW,HIGH"; null: as the project says
    this.hasValues = false; // whether the server can tell values without reading all of them first
    this.overview = null;
    this.overviewRange = null; // by which it was drawn
    /** The least recently seen first. @type {Map<string, ImageBitmap>} */
    this.tiles = new Map();
    /** Tiles by another range, until there are those of this. @type {Map<string, ImageBitmap>} */
    this.old = new Map();
    /** Those in view, the nearest to its middle first. @type {string[]} */
    this.wanted = [];
    /** @type {Map<string, AbortController>} */
    this.loading = new Map();
    /** When a tile could not be loaded. @type {Map<string, number>} */
    this.failed = new Map();
  }

  /** Load the levels, which the server makes once, and the coarsest one. @throws {ApiError} if it cannot */
  async start() {
    const { tile_side: tileSide, sizes_wh: levels, has_values: hasValues } = await get(`images/${this.id}/tiles`);
    Object.assign(this, { tileSide, levels, hasValues });
    const overview = await this.fetch(`${levels.length - 1}/0/0`, null, new AbortController().signal);
    if (this.closed) return overview.close();
    this.overview = overview;
    return this.onChange();
  }

  /** Show other values as black and white, which the server must have read. @param {string | null} range */
  setRange(range) {
    if (range === this.range || this.closed) return;
    this.range = range;
    for (const abort of this.loading.values()) abort.abort();
    this.loading.clear();
    this.failed.clear();
    for (const [key, tile] of this.tiles) {
      this.old.get(key)?.close();
      this.old.delete(key);
      this.old.set(key, tile);
    }
    this.tiles.clear();
    this.onChange();
  }

  /** A small picture of the image; null while there is none. */
  picture() {
    return this.overview;
  }

  /**
   * Draw what is in view.
   * @param {CanvasRenderingContext2D} context in CSS pixels
   * @param {import("./view.js").View} view
   * @param {number} ratio device pixels in a CSS pixel
   */
  draw(context, view, ratio, { load = true } = {}) {
    if (!this.overview) return;
    const top = this.levels.length - 1;
    const level = Math.max(0, Math.min(top, Math.floor(-Math.log2(view.scale * ratio))));
    context.imageSmoothingEnabled = view.scale < PIXELATE_FROM;
    context.drawImage(this.overview, view.x, view.y, this.width * view.scale, this.height * view.scale);
    for (let at = top - 1; at >= level; at--) {
      for (const key of this.inView(at, view)) {
        const tile = this.tiles.get(key) ?? this.old.get(key);
        if (tile) this.drawTile(context, view, ratio, key, tile);
      }
    }
    const coarsest = this.overviewRange === this.range ? [] : [`${top}/0/0`];
    if (load) this.want(level < top ? [...coarsest, ...this.inView(level, view)] : coarsest);
  }

  drawTile(context, view, ratio, key, tile) {
    const [level, column, row] = key.split("/").map(Number);
    const factor = 2 ** level;
    const edge = (at, offset) => Math.round((at * view.scale + offset) * ratio) / ratio; // no seams
    const [x0, y0] = [column * this.tileSide * factor, row * this.tileSide * factor];
    const [left, top] = [edge(x0, view.x), edge(y0, view.y)];
    const right = edge(Math.min(this.width, x0 + tile.width * factor), view.x);
    const bottom = edge(Math.min(this.height, y0 + tile.height * factor), view.y);
    context.drawImage(tile, left, top, right - left, bottom - top);
  }

  /** The tiles of a level that are in view, the nearest to its middle first. */
  inView(level, view) {
    const side = this.tileSide * 2 ** level * view.scale; // on the screen
    const [width, height] = this.levels[level];
    const span = (offset, window, length) => {
      const last = Math.ceil(length / this.tileSide) - 1;
      return [Math.max(0, Math.floor(-offset / side)), Math.min(last, Math.floor((window - offset) / side))];
    };
    const [left, right] = span(view.x, view.width, width);
    const [top, bottom] = span(view.y, view.height, height);
    const found = [];
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        const away = Math.hypot((column + 0.5) * side + view.x - view.width / 2, (row + 0.5) * side + view.y - view.height / 2);
        found.push([away, `${level}/${column}/${row}`]);
      }
    }
    return found.sort(([a], [b]) => a - b).map(([, key]) => key);
  }

  /** Load these tiles, and no others. @param {string[]} keys */
  want(keys) {
    this.wanted = keys;
    const wanted = new Set(keys);
    for (const [key, abort] of this.loading) if (!wanted.has(key)) abort.abort();
    for (const key of keys) {
      const tile = this.tiles.get(key);
      if (!tile) continue;
      this.tiles.delete(key);
      this.tiles.set(key, tile);
    }
    for (const tiles of [this.tiles, this.old]) {
      for (const [key, tile] of tiles) {
        if (tiles.size <= Math.max(MIN_CACHED, 2 * keys.length)) break;
        tiles.delete(key);
        tile.close();
      }
    }
    if (keys.every((key) => this.tiles.has(key))) closeAll(this.old);
    this.loadNext();
  }

  loadNext() {
    const now = performance.now();
    for (const key of this.wanted) {
      if (this.closed || this.loading.size >= AT_ONCE) return;
      const isNeeded = !this.tiles.has(key) && !this.loading.has(key);
      if (isNeeded && !(now - this.failed.get(key) < AGAIN_MS)) this.load(key);
    }
  }

  async load(key) {
    const abort = new AbortController();
    const { range } = this;
    this.loading.set(key, abort);
    let isNew = false;
    try {
      const tile = await this.fetch(key, range, abort.signal);
      isNew = !this.closed && range === this.range;
      if (isNew) this.add(key, tile);
      else tile.close();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!abort.signal.aborted) this.failed.set(key, performance.now());
    } finally {
      if (this.loading.get(key) === abort) this.loading.delete(key);
    }
    if (this.closed) return;
    if (isNew) this.onChange();
    this.loadNext();
  }

  add(key, tile) {
    if (key !== `${this.levels.length - 1}/0/0`) {
      this.tiles.set(key, tile);
      return;
    }
    this.overview?.close();
    Object.assign(this, { overview: tile, overviewRange: this.range });
  }

  /** @throws {ApiError} also when it was aborted */
  async fetch(key, range, signal) {
    const window = range === null ? "" : `?value_range=${encodeURIComponent(range)}`;
    const response = await fetch(`/api/images/${this.id}/tiles/${key}${window}`, { credentials: "same-origin", signal }).catch(() => {
      throw new ApiError(OFFLINE, t("A part of the image could not be loaded."));
    });
    if (!response.ok) throw new ApiError(response.status, response.statusText);
    const content = await response.blob().catch(() => {
      throw new ApiError(OFFLINE, t("A part of the image could not be loaded."));
    });
    return createImageBitmap(content);
  }

  close() {
    this.closed = true;
    for (const abort of this.loading.values()) abort.abort();
    closeAll(this.tiles);
    closeAll(this.old);
    this.overview?.close();
    this.overview = null;
  }
}

/** Close pictures and forget them. @param {Map<unknown, ImageBitmap>} pictures */
export function closeAll(pictures) {
  for (const picture of pictures.values()) picture.close();
  pictures.clear();
}
