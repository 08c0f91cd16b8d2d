/**
 * ONNX Runtime on WebGPU: a build of its own, which is loaded only where there is a graphics card. It has
 * to prove itself before it decodes, and once it fails, it is not used again until the page is loaded anew.
 */

import { Graphs } from "./decoder_graphs.js";

const FOLDER = "./vendor/onnxruntime-web";
const FATAL = 4; // the only messages of ONNX Runtime to show: WebAssembly takes over from any failure
const LEAST_IOU = 0.99;
const MAX_IOU_PRED_DIFFERENCE = 0.01;
// The embedding is in half precision, which not every graphics card has: this node stays on the CPU.
const CAST_OF_EMBEDDING = "/Cast";

let opening = null;
let device = null;
let failed = false;

/** The build for WebGPU. @throws where the browser cannot run it */
export function openWebgpu() {
  opening ??= open();
  return opening;
}

export const isWebgpuUp = () => !failed;

/** Stop using it, and whatever it may be computing. */
export function giveUpWebgpu(why) {
  if (failed) return;
  failed = true;
  console.info(`WebGPU does not decode: ${why}`);
  device?.destroy();
}

async function open() {
  // The build waits for the GPU by JavaScript Promise Integration.
  if (!navigator.gpu || !WebAssembly.Suspending) throw new Error("the browser has none");
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Error("there is no adapter");
  if (adapter.info.isFallbackAdapter) throw new Error("the adapter is software"); // slower than WebAssembly
  const ort = await import(`${FOLDER}/ort.jspi.bundle.min.mjs`);
  ort.env.wasm.wasmPaths = { wasm: new URL(`${FOLDER}/ort-wasm-simd-threaded.jspi.wasm`, import.meta.url).href };
  ort.env.wasm.numThreads = 1;
  return ort;
}

/** @param ort the build @param {{prepare: Uint8Array, decode: Uint8Array}} parts */
export async function loadOnWebgpu(ort, parts) {
  const options = { logSeverityLevel: FATAL };
  const graphs = await Graphs.load(ort, parts, {
    // What prompts share stays on the GPU.
    prepare: { ...options, executionProviders: [{ name: "webgpu", forceCpuNodeNames: [CAST_OF_EMBEDDING] }], preferredOutputLocation: "gpu-buffer" },
    decode: { ...options, executionProviders: ["webgpu"] },
  });
  device = await ort.env.webgpu.device;
  device.lost.then(({ message }) => giveUpWebgpu(message));
  return graphs;
}

/** Whether an answer can be one: a device that is being lost may give anything. @param {import("./decoder_graphs.js").Decoded} answer */
export function isSound({ logits, ious }) {
  return ious.every(Number.isFinite) && logits.every((one) => one.every(Number.isFinite) && one.some((value) => value !== 0));
}

/**
 * Whether two answers to a prompt are the same but for rounding. Masks without a pixel prove nothing.
 * @param {import("./decoder_graphs.js").Decoded} one @param {import("./decoder_graphs.js").Decoded} other
 */
export function agree(one, other) {
  const pairs = one.logits.map((logits, at) => [logits, other.logits[at]]);
  const ious = pairs.map(([a, b]) => iouOf(a, b));
  return ious.some((iou) => iou !== null)
    && ious.every((iou) => iou === null || iou > LEAST_IOU)
    && one.ious.every((iou, at) => Math.abs(iou - other.ious[at]) < MAX_IOU_PRED_DIFFERENCE);
}

/** IoU of the masks of logits; null if both are empty. */
function iouOf(one, other) {
  let both = 0;
  let either = 0;
  one.forEach((value, at) => {
    both += value > 0 && other[at] > 0;
    either += value > 0 || other[at] > 0;
  });
  return either ? both / either : null;
}
