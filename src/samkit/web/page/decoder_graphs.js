/** The two graphs of a model's decoder in one of ONNX Runtime's builds: on WebAssembly, or on WebGPU. */

/**
 * @typedef {{embedding: Uint16Array, shape: number[], side: number}} GivenImage  in half precision, (channels,
 *   grid, grid); and the side of the logits
 * @typedef {{places: number[][], labels: number[]}} ModelPrompt  in the model space, corners and padding included
 * @typedef {{logits: Float32Array[], ious: number[], ms: number}} Decoded  of all candidates, the single mask
 *   first, and how long it took
 */

export class Graphs {
  /**
   * @param ort the build
   * @param {{prepare: Uint8Array, decode: Uint8Array}} parts
   * @param {{prepare: object, decode: object}} options of the sessions
   */
  static async load(ort, parts, options) {
    const graphs = new Graphs();
    graphs.ort = ort;
    graphs.preparing = await ort.InferenceSession.create(parts.prepare, options.prepare);
    graphs.decoding = await ort.InferenceSession.create(parts.decode, options.decode);
    return graphs;
  }

  /** What all prompts on an image share; with an earlier mask, those that continue from it. @param {GivenImage} image @param {Float32Array | null} mask */
  prepare({ embedding, shape, side }, mask) {
    return this.preparing.run({
      image_embeddings: new this.ort.Tensor("float16", embedding, [1, ...shape]),
      mask_input: this.tensor(mask ?? new Float32Array(side * side), 1, 1, side, side),
      has_mask_input: this.tensor([mask ? 1 : 0], 1),
    });
  }

  /** @param prepared by `prepare` @param {ModelPrompt} prompt @returns {Promise<Decoded>} */
  async decode(prepared, { places, labels }) {
    const started = performance.now();
    const { low_res_masks: masks, iou_predictions: ious } = await this.decoding.run({
      ...prepared,
      point_coords: this.tensor(places.flat(), 1, places.length, 2),
      point_labels: this.tensor(labels, 1, labels.length),
    });
    const size = masks.dims[2] * masks.dims[3];
    const logits = [...ious.data].map((_, at) => masks.data.slice(at * size, (at + 1) * size));
    return { logits, ious: [...ious.data], ms: performance.now() - started };
  }

  tensor(values, ...dims) {
    return new this.ort.Tensor("float32", new Float32Array(values), dims);
  }

  release() {
    this.preparing.release();
    this.decoding.release();
  }
}

/** Free what `prepare` gave on a GPU. */
export function dispose(prepared) {
  for (const tensor of Object.values(prepared)) if (tensor.location === "gpu-buffer") tensor.dispose();
}
