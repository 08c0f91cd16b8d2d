/** Where prompts are decoded: as the person has set it, or where answers come faster. */

import { signedIn } from "./api.js";
import { readSettings } from "./settings.js";

const MAX_TIMES = 5; // times of each place
const AT_ONCE_MS = 100; // what is faster is felt as at once: then the server is spared

/** @typedef {"browser" | "server"} Place */

export class DecoderChoice {
  constructor() {
    /** @type {Record<Place, number[]>} */
    this.times = { browser: [], server: [] };
    /** @type {"wasm" | "webgpu"} what decodes in the browser */
    this.runtime = "wasm";
  }

  /** @param {Place} place @param {number} ms from a click to its masks */
  note(place, ms) {
    this.times[place] = [...this.times[place], ms].slice(-MAX_TIMES);
  }

  /** From times of another runtime nothing follows for this one. @param {"wasm" | "webgpu"} runtime that has decoded in the browser */
  noteBrowser(runtime, ms) {
    if (runtime !== this.runtime) this.times.browser = [];
    this.runtime = runtime;
    this.note("browser", ms);
  }

  /** The median of the last answers; null before the first. @param {Place} place */
  typicalMs(place) {
    const sorted = [...this.times[place]].sort((a, b) => a - b);
    return sorted.length ? sorted[sorted.length >> 1] : null;
  }

  /** Whether the browser's decoder is to be loaded. A server for one person is the same machine, and faster. */
  get mayUseBrowser() {
    const { decoder } = readSettings();
    return decoder === "browser" || (decoder !== "server" && !signedIn.local);
  }

  /** Whether the browser shall decode, once it can. */
  get prefersBrowser() {
    if (!this.mayUseBrowser) return false;
    if (readSettings().decoder === "browser") return true;
    const [browser, server] = [this.typicalMs("browser"), this.typicalMs("server")];
    if (browser === null) return false;
    return browser <= AT_ONCE_MS || (server !== null && browser < server);
  }
}

/** Measured as long as the page is loaded. */
export const choice = new DecoderChoice();
