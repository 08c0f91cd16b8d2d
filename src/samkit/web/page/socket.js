/**
 * The WebSocket over which an image is prompted. A lost connection is opened again, and the newest
 * question asked again.
 */

import { decodeRle } from "./rle.js";
import { seenPart } from "./seen_part.js";

const FIRST_PREVIEW = 2 ** 40; // ids of previews lie above those of questions
const MAX_ANSWERS = 8; // whose logits the server caches for each connection
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
export const NOT_SIGNED_IN = 4401;
const UNREADABLE = 4422;
export const NO_WAY_BACK = [4403, 4404, UNREADABLE];

/**
 * Events: state {encoded}, ready {model_version_id}, version {model_version_id}, masks {id, answer},
 * lost {code}, back {}, fault {id, detail}, unreadable {detail}.
 */
export class PromptSocket extends EventTarget {
  /** @param {number} imageId @param {import("./stage.js").Stage} stage where it is seen */
  constructor(imageId, stage) {
    super();
    this.stage = stage;
    this.part = null; // what the model saw last of an image by tiles
    this.parts = new Map(); // by question
    const url = new URL(`/api/images/${imageId}/prompt`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.url = url.href;
    this.closed = false;
    this.ready = false;
    this.lost = false;
    this.retryMs = FIRST_RETRY_MS;
    this.question = null; // not answered yet
    this.answered = []; // on this connection, the last one last
    this.lastPreview = FIRST_PREVIEW;
    this.asked = null; // the preview that is not answered yet
    this.open();
  }

  open() {
    this.drop();
    this.socket = new WebSocket(this.url);
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.socket.onclose = ({ code }) => this.onClose(code);
  }

  close() {
    this.closed = true;
    clearTimeout(this.retryTimer);
    this.dropPreview();
    this.drop();
  }

  /** Close the connection, if there is one, and stop listening to it. */
  drop() {
    if (!this.socket) return;
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
  }

  /** @param {import("./draft.js").Question} question replaces an older one */
  ask(question) {
    this.question = question;
    if (this.ready) this.sendQuestion();
  }

  /** Whether a prompt may continue from the answer to a question. */
  has(questionId) {
    return this.answered.includes(questionId);
  }

  /**
   * What a click at a place would give, at reduced size, and the part of the image that it covers;
   * rejects if there is no answer. A newer one replaces it.
   * @returns {Promise<{mask: import("./rle.js").Mask, box: number[]}>}
   */
  preview(xy) {
    this.dropPreview();
    const id = ++this.lastPreview;
    const points = [xy];
    this.send({ type: "preview", id, points, labels: [1], view: this.seen({ points }) });
    return new Promise((resolve, reject) => {
      this.asked = { id, resolve, reject };
    });
  }

  dropPreview() {
    this.asked?.reject(new Error("dropped"));
    this.asked = null;
  }

  /** Connect afresh, as the image may be readable by now. */
  tryAgain() {
    if (!this.closed) this.open();
  }

  retryNow() {
    if (!this.lost || this.closed) return;
    clearTimeout(this.retryTimer);
    this.open();
  }

  sendQuestion() {
    const { id, points, labels, box, multimask, continueFrom } = this.question;
    const view = this.seen({ points, box });
    this.parts.set(id, view);
    const known = continueFrom && this.has(continueFrom.id) && this.parts.get(continueFrom.id) === view;
    this.send({
      type: "prompt",
      id,
      points,
      labels,
      box,
      multimask,
      view,
      continue_from: known ? continueFrom : null,
    });
  }

  /** What the model shall see of an image by tiles; null: all of it. */
  seen(prompts) {
    const { view, levels } = this.stage;
    if (levels?.isTiled) this.part = seenPart(view, prompts, this.part);
    return this.part;
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  receive(message) {
    const { type, id } = message;
    if (type === "state") {
      if (this.lost) this.tell("back");
      this.lost = false;
      this.tell("state", message);
    } else if (type === "ready") {
      this.ready = true;
      this.retryMs = FIRST_RETRY_MS; // not before: an image may fail to be encoded again and again
      this.tell("ready", message);
      if (this.question) this.sendQuestion();
    } else if (type === "version") {
      this.tell("version", message);
    } else if (type === "masks") {
      this.answered = [...this.answered, id].slice(-MAX_ANSWERS);
      const masks = message.masks.map(({ rle, iou_pred: iou }) => ({ mask: decodeRle(rle), iou }));
      if (this.question?.id === id) this.question = null;
      const answer = { masks, best: message.best, modelVersionId: message.model_version_id, view: this.parts.get(id) ?? null };
      this.tell("masks", { id, ms: message.ms, answer });
    } else if (type === "preview") {
      if (this.asked?.id === id) {
        this.asked.resolve({ mask: decodeRle(message.mask.rle), box: message.box });
        this.asked = null;
      }
    } else if (type === "error") {
      if (this.asked?.id === id) this.dropPreview();
      if (this.question?.id === id) this.question = null;
      this.tell("fault", message);
    } else if (type === "unreadable") this.tell("unreadable", message);
  }

  onClose(code) {
    this.ready = false;
    this.answered = [];
    this.dropPreview();
    if (this.closed || code === UNREADABLE) return;
    this.lost = true;
    this.tell("lost", { code });
    if (NO_WAY_BACK.includes(code) || code === NOT_SIGNED_IN) return;
    this.retryTimer = setTimeout(() => this.open(), this.retryMs);
    this.retryMs = Math.min(LAST_RETRY_MS, this.retryMs * 2);
  }

  tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
