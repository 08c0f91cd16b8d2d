/**
 * The WebSocket over which an image is prompted. A lost connection is opened again, and the newest
 * question asked again. Previews are throttled: one at a time, and only for the newest place.
 */

import { decodeRle } from "./rle.js";
import { seenPart } from "./seen_part.js";

const FIRST_PREVIEW = 2 ** 40; // ids of previews lie above those of questions
const MAX_ANSWERS = 8; // whose logits the server caches for each connection
const PREVIEW_EVERY_MS = 60;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
export const NOT_SIGNED_IN = 4401;
const UNREADABLE = 4422;
const NO_WAY_BACK = [4403, 4404, UNREADABLE];

/**
 * Events: state {encoded}, ready {}, masks {id, answer}, preview {mask, box}, lost {code}, back {},
 * fault {id, detail}, unreadable {detail}.
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
    this.preview = { waiting: null, asked: null, at: 0, timer: 0, id: FIRST_PREVIEW };
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
    clearTimeout(this.preview.timer);
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
    this.dropPreview();
    if (this.ready) this.sendQuestion();
  }

  /** Preview what a click at a place would give; only the newest place counts. */
  askPreview(xy) {
    this.preview.waiting = xy;
    this.sendPreview();
  }

  /** Drop the pending preview, as the pointer has left. */
  dropPreview() {
    this.preview.waiting = null;
    this.preview.asked = null;
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
    const known = continueFrom && this.answered.includes(continueFrom.id) && this.parts.get(continueFrom.id) === view;
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

  sendPreview() {
    const { preview } = this;
    if (!this.ready || !preview.waiting || preview.asked || this.question) return;
    const wait = preview.at + PREVIEW_EVERY_MS - performance.now();
    clearTimeout(preview.timer);
    if (wait > 0) {
      preview.timer = setTimeout(() => this.sendPreview(), wait);
      return;
    }
    preview.id += 1;
    preview.asked = { id: preview.id, xy: preview.waiting };
    preview.waiting = null;
    preview.at = performance.now();
    const points = [preview.asked.xy];
    this.send({ type: "preview", id: preview.id, points, labels: [1], view: this.seen({ points }) });
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
      else this.sendPreview();
    } else if (type === "masks") {
      this.answered = [...this.answered, id].slice(-MAX_ANSWERS);
      const masks = message.masks.map(({ rle, iou_pred: iou }) => ({ mask: decodeRle(rle), iou }));
      if (this.question?.id === id) this.question = null;
      const answer = { masks, best: message.best, modelVersionId: message.model_version_id };
      this.tell("masks", { id, ms: message.ms, answer });
    } else if (type === "preview") {
      if (this.preview.asked?.id === id) {
        const { xy } = this.preview.asked;
        this.preview.asked = null;
        this.tell("preview", { mask: decodeRle(message.mask.rle), box: message.box, xy });
      }
      this.sendPreview();
    } else if (type === "error") {
      if (this.preview.asked?.id === id) this.preview.asked = null;
      if (this.question?.id === id) this.question = null;
      this.tell("fault", message);
    } else if (type === "unreadable") this.tell("unreadable", message);
  }

  onClose(code) {
    this.ready = false;
    this.answered = [];
    this.preview.asked = null;
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
