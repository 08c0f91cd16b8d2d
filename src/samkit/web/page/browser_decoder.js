/**
 * Decoding in the browser: an image with the decoder of one model version, in a worker that all
 * images of the page share.
 */

import { request } from "./api.js";

const MAX_ANSWERS = 8; // that prompts may continue from, as in the worker
const OPEN_S = 180; // the server makes a version's decoder when it is first asked for
const ANSWER_S = 20; // after which the worker counts as hung

let worker = null;
let hasHung = false;
let lastId = 0;
let lastPage = 0;
const waiting = new Map();

/** Why the browser cannot decode; `why` is the server's word for it, or "failed". */
export class CannotDecode extends Error {
  constructor(why, detail = why) {
    super(detail);
    this.why = why;
  }
}

export class BrowserDecoder {
  /**
   * Load the decoder that answers in the image's project now, and the image's embedding.
   * @param {{id: number, project_id: number, size_hw: [number, number]}} image
   * @throws {CannotDecode}
   */
  static async open(image) {
    const path = `images/${image.id}/decoder`;
    const about = await request("GET", path, undefined, { timeoutS: OPEN_S }).catch((error) => {
      throw new CannotDecode("failed", error.message);
    });
    if (about.hindrance) throw new CannotDecode(about.hindrance);
    const [height, width] = image.size_hw;
    const { grid_side: grid, model_side: modelSide, num_channels: channels } = about;
    const decoder = new BrowserDecoder(about.model_version_id);
    await decoder.call("open", {
      imageId: image.id,
      projectId: image.project_id,
      versionId: decoder.versionId,
      spaces: { modelSide, side: 4 * grid, height, width },
      shape: [channels, grid, grid],
    }, OPEN_S);
    return decoder;
  }

  constructor(versionId) {
    this.versionId = versionId;
    this.page = ++lastPage; // what the worker knows the image by
    this.answered = []; // questions, the last one last
  }

  /** Whether a prompt may continue from the answer to a question. */
  has(questionId) {
    return this.answered.includes(questionId);
  }

  /**
   * @param {import("./draft.js").Question} question that continues from nothing, or from what `has` has
   * @returns {Promise<import("./draft.js").Answer>}
   */
  async ask(question) {
    const { id, points, labels, box, multimask, continueFrom } = question;
    const answer = await this.call("ask", { question: { id, points, labels, box, multimask, continueFrom } });
    this.answered = [...this.answered, id].slice(-MAX_ANSWERS);
    return { ...answer, modelVersionId: this.versionId };
  }

  /** What a click would give, at reduced size, and the part of the image that it covers. */
  preview(xy) {
    return this.call("preview", { xy });
  }

  /** Milliseconds that a click takes. */
  measure() {
    return this.call("measure", {}, OPEN_S);
  }

  /** Have WebGPU decode, if it gives the same masks, and faster. @returns {Promise<"wasm" | "webgpu">} what decodes from then on */
  async accelerate() {
    return hasHung ? "wasm" : this.call("accelerate", {}, OPEN_S);
  }

  close() {
    if (worker) this.call("close", {}).catch(() => {});
  }

  call(name, given, withinS = ANSWER_S) {
    return callWorker(name, { page: this.page, ...given }, withinS);
  }
}

function callWorker(call, given, withinS) {
  worker ??= startWorker();
  return new Promise((resolve, reject) => {
    const id = ++lastId;
    const timer = setTimeout(() => stopWorker("no answer"), withinS * 1000);
    waiting.set(id, { resolve, reject, timer });
    worker.postMessage({ id, call, given });
  });
}

function startWorker() {
  const started = new Worker(new URL("decoder_worker.js", import.meta.url), { type: "module" });
  started.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject, timer } = waiting.get(id);
    clearTimeout(timer);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new CannotDecode("failed", error));
  };
  started.onerror = (event) => {
    event.preventDefault();
    stopWorker(event.message);
  };
  return started;
}

/** Stop the worker, which may hang; the next image gets another one. */
function stopWorker(why) {
  worker?.terminate();
  worker = null;
  hasHung = true;
  for (const { reject, timer } of waiting.values()) {
    clearTimeout(timer);
    reject(new CannotDecode("failed", why));
  }
  waiting.clear();
}
