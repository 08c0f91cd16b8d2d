/**
 * Who answers prompts on an image: the server by a WebSocket, or the browser's own decoder once it is
 * loaded. Both give the same answers, so that nobody else needs to know. A draft goes on where it
 * began, with the model version that it began with; whatever the browser cannot do, the server does.
 */

import { BrowserDecoder } from "./browser_decoder.js";
import { choice } from "./decoder_choice.js";
import { Previews } from "./previews.js";
import { NO_WAY_BACK, PromptSocket } from "./socket.js";

/**
 * Events: those of PromptSocket, with masks also from the browser; and decoder {}, when what
 * `answersIn` or `hindrance` says may have changed.
 */
export class Prompter extends EventTarget {
  /** @param {{id: number, project_id: number, size_hw: [number, number]}} image @param {import("./stage.js").Stage} stage where it is seen */
  constructor(image, stage) {
    super();
    this.image = image;
    this.closed = false;
    /** @type {BrowserDecoder | null} of the version that answers now, once it is loaded */
    this.decoder = null;
    /** @type {BrowserDecoder[]} with those of earlier versions, with which drafts may go on */
    this.decoders = [];
    this.hindrance = null; // why the browser cannot decode
    this.openings = 0;
    this.question = null; // the newest, until it is answered
    this.askedServer = null; // {id, at}, to measure it
    this.previews = new Previews({
      mayAsk: () => !this.question && (this.place === "browser" || this.socket.ready),
      ask: (xy) => (this.place === "browser" ? this.decoder.preview(xy) : this.socket.preview(xy)),
      show: (found) => this.tell("preview", found),
    });
    this.socket = new PromptSocket(image.id, stage);
    for (const type of ["state", "ready", "version", "masks", "lost", "back", "fault", "unreadable"]) {
      this.socket.addEventListener(type, ({ detail }) => this.hear(type, detail));
    }
  }

  /** Whether a prompt is answered now. */
  get isReady() {
    return this.socket.ready || this.place === "browser";
  }

  /** Who answers the next new prompt. @returns {import("./decoder_choice.js").Place} */
  get place() {
    const wanted = choice.prefersBrowser || (this.socket.lost && choice.mayUseBrowser);
    return this.decoder && wanted ? "browser" : "server";
  }

  /** @param {import("./draft.js").Question} question replaces an older one */
  ask(question) {
    this.question = question;
    this.previews.drop();
    const { continueFrom: prior } = question;
    const earlier = prior && this.decoders.find((one) => one.has(prior.id));
    const atServer = prior && this.socket.has(prior.id);
    if (earlier) this.askBrowser(earlier, question);
    else if (!atServer && this.place === "browser") this.askBrowser(this.decoder, { ...question, continueFrom: null });
    else this.askServer(question);
  }

  /** Preview what a click at a place would give; only the newest place counts. */
  askPreview(xy) {
    this.previews.ask(xy);
  }

  dropPreview() {
    this.previews.drop();
  }

  /** Connect afresh, as the image may be readable by now. */
  tryAgain() {
    this.socket.tryAgain();
  }

  retryNow() {
    this.socket.retryNow();
  }

  /** The person has set where prompts are decoded. */
  followSetting() {
    this.openDecoder(this.versionId);
    this.tell("decoder");
  }

  close() {
    this.closed = true;
    this.previews.drop();
    this.socket.close();
    this.closeDecoders();
  }

  askServer(question) {
    // While the image is being encoded, or without a connection, the time says nothing.
    this.askedServer = this.socket.ready ? { id: question.id, at: performance.now() } : null;
    this.socket.ask(question);
  }

  async askBrowser(decoder, question) {
    this.socket.question = null; // which this one replaces
    const asked = performance.now();
    let answer;
    try {
      answer = await decoder.ask(question);
    } catch {
      this.giveUp(decoder);
      if (!this.closed && this.question?.id === question.id) this.askServer(question);
      return;
    }
    if (this.closed) return;
    const ms = performance.now() - asked;
    choice.noteBrowser(answer.runtime, ms);
    this.take({ id: question.id, ms, answer });
  }

  /** From here on without a decoder that has failed. */
  giveUp(decoder) {
    this.decoders = this.decoders.filter((one) => one !== decoder);
    if (this.decoder === decoder) this.decoder = null;
    decoder.close();
    this.hindrance = "failed";
    this.tell("decoder");
  }

  take(detail) {
    if (this.question?.id === detail.id) this.question = null;
    this.tell("masks", detail);
    this.previews.next();
  }

  /** Load the decoder of the version that answers now, if it is wanted and not there. */
  async openDecoder(versionId) {
    this.versionId = versionId;
    if (versionId === undefined || !choice.mayUseBrowser || this.decoder?.versionId === versionId) return;
    const own = ++this.openings;
    this.decoder = null;
    this.hindrance = null;
    let decoder = null;
    let hindrance = null;
    try {
      decoder = await BrowserDecoder.open(this.image);
      if (choice.typicalMs("browser") === null) choice.note("browser", await decoder.measure());
    } catch (error) {
      hindrance = error.why ?? "failed";
    }
    if (hindrance || this.closed || own !== this.openings) decoder?.close();
    if (this.closed || own !== this.openings) return;
    this.hindrance = hindrance;
    if (!hindrance) {
      this.decoder = decoder;
      this.decoders = [...this.decoders, decoder];
      this.accelerate(decoder);
    }
    this.tell("decoder");
  }

  /** @param {BrowserDecoder} decoder which answers meanwhile */
  async accelerate(decoder) {
    try {
      const runtime = await decoder.accelerate();
      if (runtime !== choice.runtime) choice.noteBrowser(runtime, await decoder.measure());
    } catch {
      return; // the next question finds out that the worker is gone
    }
    if (!this.closed) this.tell("decoder");
  }

  closeDecoders() {
    this.openings += 1;
    for (const decoder of this.decoders) decoder.close();
    this.decoders = [];
    this.decoder = null;
  }

  hear(type, detail) {
    if (type === "masks") {
      if (this.askedServer?.id === detail.id) choice.note("server", performance.now() - this.askedServer.at);
      this.take(detail);
      return;
    }
    if (type === "fault" && this.question?.id === detail.id) this.question = null;
    if (type === "lost" && NO_WAY_BACK.includes(detail.code)) this.closeDecoders();
    if (type === "ready" || type === "version") this.openDecoder(detail.model_version_id);
    this.tell(type, detail);
    if (type === "ready") this.previews.next();
    if (type === "lost" && this.question && this.place === "browser") this.ask(this.question);
  }

  tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
