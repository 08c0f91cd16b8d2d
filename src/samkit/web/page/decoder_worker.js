/**
 * The worker in which prompts are decoded, so that drawing does not wait: ONNX Runtime runs the server's
 * decoder on the server's embedding, on WebAssembly, or on WebGPU where that is faster. It has the decoders
 * of the versions in use, an image for each page that is open, and logits that later prompts continue from.
 *
 * Messages are {id, call, given}, with a call of `CALLS` or `BESIDE`; answers are {id, result} or {id, error}.
 */

import { dispose, Graphs } from "./decoder_graphs.js";
import { maskOfLogits, toModel } from "./logits.js";
import * as ort from "./vendor/onnxruntime-web/ort.wasm.bundle.min.mjs";
import { agree, giveUpWebgpu, isSound, isWebgpuUp, loadOnWebgpu, openWebgpu } from "./webgpu.js";

const MAX_ANSWERS = 8; // of an image, whose logits are kept; 0.8 MB each
const MAX_THREADS = 4; // beyond, a click gets hardly faster
const PREVIEW_SIDE = 512;
const TRIAL_S = 120; // to load WebGPU's build and compare
const GPU_ANSWER_S = 10; // after which WebAssembly answers
const [NEAR_CORNER, FAR_CORNER, NO_POINT] = [2, 3, -1]; // labels beside 0 and 1
const ON_WASM = { executionProviders: ["wasm"] };

ort.env.wasm.wasmPaths = { wasm: new URL("vendor/onnxruntime-web/ort-wasm-simd-threaded.wasm", import.meta.url).href };
// Threads share memory, which browsers allow isolated pages only; half of the cores are for the rest.
ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(MAX_THREADS, Math.max(1, navigator.hardwareConcurrency >> 1)) : 1;

/** @type {Map<number, Promise<Decoder>>} by model version */
const decoders = new Map();
/** @type {Map<number, OpenImage>} by the page's number */
const images = new Map();

/** A model version's decoder: on WebAssembly, and on WebGPU once it has proved itself. */
class Decoder {
  static async load(projectId, versionId) {
    const fetchPart = async (part) => new Uint8Array(await fetchBytes(`/api/projects/${projectId}/decoder/${part}?model_version_id=${versionId}`));
    const decoder = new Decoder();
    /** Until WebGPU has been tried. */
    decoder.parts = { prepare: await fetchPart("prepare"), decode: await fetchPart("decode") };
    decoder.wasm = await Graphs.load(ort, decoder.parts, { prepare: ON_WASM, decode: ON_WASM });
    decoder.proven = null; // the graphs on WebGPU
    decoder.trial = null;
    return decoder;
  }

  get gpu() {
    return isWebgpuUp() ? this.proven : null;
  }

  get runtime() {
    return this.gpu ? "webgpu" : "wasm";
  }

  /** Use WebGPU from here on, if it gives the same masks faster. @param {OpenImage} image to compare on */
  accelerate(image) {
    this.trial ??= within(TRIAL_S, this.tryWebgpu(image)).catch(giveUpWebgpu).finally(() => {
      this.parts = null;
    });
    return this.trial;
  }

  async tryWebgpu(image) {
    const build = await openWebgpu();
    const graphs = await loadOnWebgpu(build, this.parts);
    const { height, width } = image.spaces;
    const click = { points: [[width / 2, height / 2]], labels: [1], box: null };
    const second = { points: [...click.points, [width / 4, height / 4]], labels: [1, 0], box: null };
    const own = new OpenImage(this, image.versionId, image.spaces, image.embedding, image.shape); // the page may close the image
    const onWasm = (prompt, mask) => queued(() => own.run(this.wasm, prompt, mask));
    const first = await onWasm(click, null);
    const mask = first.logits[bestOf(first.ious)];
    for (const [prompt, earlier, expected] of [[click, null, first], [second, mask, await onWasm(second, mask)]]) {
      if (!agree(expected, await own.run(graphs, prompt, earlier))) throw new Error("its masks are others than WebAssembly's");
    }
    // The first time, programs for the GPU are compiled.
    const [plain, fast] = [await onWasm(click, null), await own.run(graphs, click, null)];
    own.close();
    if (!(fast.ms < plain.ms)) throw new Error(`a click takes ${Math.round(fast.ms)} ms, ${Math.round(plain.ms)} on WebAssembly`);
    this.proven = graphs;
  }

  release() {
    this.wasm.release();
    this.gpu?.release();
  }
}

/** An image that can be prompted. */
class OpenImage {
  constructor(decoder, versionId, spaces, embedding, shape) {
    Object.assign(this, { decoder, versionId, spaces, embedding, shape, side: spaces.side });
    /** @type {Map<Graphs, Promise<object>>} what all prompts share */
    this.prepared = new Map();
    this.logits = new Map(); // of recent answers, by question
    this.previewed = null; // the click that was previewed last, with its answer
  }

  prepare(graphs) {
    if (!this.prepared.has(graphs)) this.prepared.set(graphs, graphs.prepare(this, null));
    return this.prepared.get(graphs);
  }

  /** Logits (side, side) and predicted IoU of the three candidates, or of the single mask. */
  async decode(prompt, mask) {
    const { logits, ious } = (await this.runOnGpu(prompt, mask)) ?? (await this.run(this.decoder.wasm, prompt, mask));
    const [first, end] = prompt.multimask ? [1, ious.length] : [0, 1];
    return { logits: logits.slice(first, end), ious: ious.slice(first, end) };
  }

  /** The answer of WebGPU; null if it is not used, or fails. */
  async runOnGpu(prompt, mask) {
    const { gpu } = this.decoder;
    if (!gpu) return null;
    try {
      const answer = await within(GPU_ANSWER_S, this.run(gpu, prompt, mask));
      if (!isSound(answer)) throw new Error("its answer is not one");
      return isWebgpuUp() ? answer : null;
    } catch (error) {
      giveUpWebgpu(error);
      return null;
    }
  }

  /** @param {Graphs} graphs @returns {Promise<import("./decoder_graphs.js").Decoded>} */
  async run(graphs, { points, labels, box }, mask) {
    const corners = box ? [box.slice(0, 2), box.slice(2)] : [];
    const places = [...points, ...corners].map((xy) => toModel(this.spaces, xy));
    if (!box) places.push([0, 0]);
    const prompt = { places, labels: [...labels, ...(box ? [NEAR_CORNER, FAR_CORNER] : [NO_POINT])] };
    if (!mask) return graphs.decode(await this.prepare(graphs), prompt);
    const prepared = await graphs.prepare(this, mask);
    try {
      return await graphs.decode(prepared, prompt);
    } finally {
      dispose(prepared);
    }
  }

  close() {
    for (const preparing of this.prepared.values()) preparing.then(dispose, () => {});
  }

  async ask(question) {
    const { continueFrom } = question;
    const mask = continueFrom && this.logits.get(continueFrom.id)?.[continueFrom.candidate];
    if (continueFrom && !mask) throw new RangeError("the earlier answer is not kept any more");
    // A click where the pointer was is decoded already.
    const { logits, ious } = this.previewed?.is(question) ? this.previewed.answer : await this.decode(question, mask);
    this.logits.set(question.id, logits);
    if (this.logits.size > MAX_ANSWERS) this.logits.delete(this.logits.keys().next().value);
    const masks = logits.map((one, at) => ({ mask: maskOfLogits(one, this.spaces), iou: ious[at] }));
    return { masks, best: bestOf(ious), runtime: this.decoder.runtime };
  }

  /** The best mask of a click, at reduced size. */
  async preview(xy) {
    const answer = await this.decode({ points: [xy], labels: [1], box: null, multimask: true }, null);
    const is = ({ points, labels, box, continueFrom, multimask }) =>
      multimask && !box && !continueFrom && labels.length === 1 && labels[0] === 1 && points[0][0] === xy[0] && points[0][1] === xy[1];
    this.previewed = { is, answer };
    const { logits, ious } = answer;
    const { height, width } = this.spaces;
    const scale = Math.min(1, PREVIEW_SIDE / Math.max(height, width));
    const small = { ...this.spaces, height: Math.max(1, Math.round(height * scale)), width: Math.max(1, Math.round(width * scale)) };
    return { mask: maskOfLogits(logits[bestOf(ious)], small), box: [0, 0, width, height] };
  }
}

const bestOf = (ious) => ious.indexOf(Math.max(...ious));

const CALLS = {
  /** Load an image and, if it is not there, its decoder. */
  async open({ page, imageId, projectId, versionId, spaces, shape }) {
    if (!decoders.has(versionId)) {
      await releaseUnused();
      decoders.set(versionId, Decoder.load(projectId, versionId));
      decoders.get(versionId).catch(() => decoders.delete(versionId)); // to be tried again
    }
    const [decoder, bytes] = await Promise.all([decoders.get(versionId), fetchBytes(`/api/images/${imageId}/embedding?model_version_id=${versionId}`)]);
    const image = new OpenImage(decoder, versionId, spaces, new Uint16Array(bytes), shape);
    if (!decoder.gpu) await image.prepare(decoder.wasm);
    images.set(page, image);
  },
  /** Milliseconds of a click. */
  async measure({ page }) {
    const image = images.get(page);
    const { height, width } = image.spaces;
    const xy = [width / 2, height / 2];
    await image.preview(xy); // the first one takes longer
    const started = performance.now();
    await image.preview(xy);
    return performance.now() - started;
  },
  ask: ({ page, question }) => images.get(page).ask(question),
  preview: ({ page, xy }) => images.get(page).preview(xy),
  close({ page }) {
    images.get(page)?.close();
    images.delete(page);
  },
};

const BESIDE = {
  /** Try WebGPU, while WebAssembly answers; what decodes from then on. */
  async accelerate({ page }) {
    const { decoder } = images.get(page);
    await decoder.accelerate(images.get(page));
    return decoder.runtime;
  },
};

/** Release decoders that no open image uses. */
async function releaseUnused() {
  const used = new Set([...images.values()].map(({ versionId }) => versionId));
  for (const [versionId, loading] of decoders) {
    if (used.has(versionId)) continue;
    decoders.delete(versionId);
    (await loading).release();
  }
}

async function fetchBytes(path) {
  const response = await fetch(path, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.arrayBuffer();
}

/** @param {Promise} working */
function within(seconds, working) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${seconds} seconds`)), seconds * 1000);
  });
  return Promise.race([working, late]).finally(() => clearTimeout(timer));
}

let last = Promise.resolve();

/** One after another, as ONNX Runtime wants it. */
function queued(act) {
  const acting = last.then(act);
  last = acting.catch(() => {});
  return acting;
}

self.onmessage = ({ data: { id, call, given } }) => {
  const answering = BESIDE[call] ? BESIDE[call](given) : queued(() => CALLS[call](given));
  answering.then(
    (result) => self.postMessage({ id, result }),
    (error) => self.postMessage({ id, error: String(error) }),
  );
};
