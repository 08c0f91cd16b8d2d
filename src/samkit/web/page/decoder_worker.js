/**
 * The worker in which prompts are decoded, so that drawing does not wait: ONNX Runtime on WebAssembly
 * runs the server's decoder on the server's embedding. It has the decoders of the versions in use,
 * an image for each page that is open, and logits that later prompts continue from.
 *
 * Messages are {id, call, given}, with a call of `CALLS`; answers are {id, result} or {id, error}.
 */

import { maskOfLogits, toModel } from "./logits.js";
import * as ort from "./vendor/onnxruntime-web/ort.wasm.bundle.min.mjs";

const MAX_ANSWERS = 8; // of an image, whose logits are kept; 0.8 MB each
const MAX_THREADS = 4; // beyond, a click gets hardly faster
const PREVIEW_SIDE = 512;
const [NEAR_CORNER, FAR_CORNER, NO_POINT] = [2, 3, -1]; // labels beside 0 and 1

ort.env.wasm.wasmPaths = { wasm: new URL("vendor/onnxruntime-web/ort-wasm-simd-threaded.wasm", import.meta.url).href };
// Threads share memory, which browsers allow isolated pages only; half of the cores are for the rest.
ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(MAX_THREADS, Math.max(1, navigator.hardwareConcurrency >> 1)) : 1;

/** @type {Map<number, Promise<Decoder>>} by model version */
const decoders = new Map();
/** @type {Map<number, OpenImage>} by the page's number */
const images = new Map();

const tensor = (values, ...dims) => new ort.Tensor("float32", Float32Array.from(values), dims);

/** The two graphs of a model version. */
class Decoder {
  static async load(projectId, versionId) {
    const load = async (part) => {
      const model = await fetchBytes(`/api/projects/${projectId}/decoder/${part}?model_version_id=${versionId}`);
      return ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
    };
    const decoder = new Decoder();
    decoder.prepare = await load("prepare");
    decoder.decode = await load("decode");
    return decoder;
  }

  release() {
    this.prepare.release();
    this.decode.release();
  }
}

/** An image that can be prompted. */
class OpenImage {
  constructor(decoder, versionId, spaces, embedding) {
    Object.assign(this, { decoder, versionId, spaces, embedding });
    this.logits = new Map(); // of recent answers, by question
    this.previewed = null; // the click that was previewed last, with its answer
  }

  /** What all prompts share; with an earlier mask, those on this mask. @param {Float32Array | null} mask */
  prepare(mask) {
    const { side } = this.spaces;
    return this.decoder.prepare.run({
      image_embeddings: this.embedding,
      mask_input: new ort.Tensor("float32", mask ?? new Float32Array(side * side), [1, 1, side, side]),
      has_mask_input: tensor([mask ? 1 : 0], 1),
    });
  }

  /** Logits (masks, side, side) and predicted IoU of the three candidates, or of the single mask. */
  async decode({ points, labels, box, multimask }, mask) {
    this.shared ??= await this.prepare(null);
    const corners = box ? [box.slice(0, 2), box.slice(2)] : [];
    const places = [...points, ...corners].map((xy) => toModel(this.spaces, xy));
    const kinds = [...labels, ...(box ? [NEAR_CORNER, FAR_CORNER] : [NO_POINT])];
    if (!box) places.push([0, 0]);
    const found = await this.decoder.decode.run({
      ...(mask ? await this.prepare(mask) : this.shared),
      point_coords: tensor(places.flat(), 1, places.length, 2),
      point_labels: tensor(kinds, 1, kinds.length),
    });
    const [first, end] = multimask ? [1, found.iou_predictions.dims[1]] : [0, 1];
    const { side } = this.spaces;
    const logits = [];
    for (let at = first; at < end; at++) logits.push(found.low_res_masks.data.slice(at * side * side, (at + 1) * side * side));
    return { logits, ious: [...found.iou_predictions.data.slice(first, end)] };
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
    return { masks, best: bestOf(ious) };
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
    const embedding = new ort.Tensor("float16", new Uint16Array(bytes), [1, ...shape]);
    const image = new OpenImage(decoder, versionId, spaces, embedding);
    image.shared = await image.prepare(null);
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
  close: ({ page }) => images.delete(page),
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

// One after another, as ONNX Runtime wants it.
let last = Promise.resolve();
self.onmessage = ({ data: { id, call, given } }) => {
  last = last.then(() => CALLS[call](given)).then(
    (result) => self.postMessage({ id, result }),
    (error) => self.postMessage({ id, error: String(error) }),
  );
};
