/**
 * What an annotator is told when something is in the way of their work, and the ways out: a lost
 * connection, an image in other hands, a change that the server did not take. Nothing that they have
 * done goes away without their saying so.
 */

import { get, post } from "./api.js";
import { confirmDialog, plural } from "./dom.js";
import { banner, notifyError } from "./notices.js";
import { NOT_SIGNED_IN } from "./socket.js";

/** @param {import("./studio.js").Studio} studio @param {number} code that the connection closed with */
export function tellLost(studio, code) {
  studio.encoded = false;
  if (code === NOT_SIGNED_IN) get("status").catch(() => {}); // shows the sign-in form
  const unsent = studio.outbox.waiting.length;
  const kept = unsent ? ` ${plural(unsent, "change")} of yours ${unsent === 1 ? "waits" : "wait"} here and will be sent.` : " What you do is kept here.";
  banner("connection", `The connection is lost; trying again.${kept}`, [
    { label: "Try now", act: () => studio.socket.retryNow(), primary: true },
  ]);
  studio.update();
}

/**
 * @param {import("./studio.js").Studio} studio
 * @param {{change: import("./outbox.js").Change, error: import("./api.js").ApiError}} refusal
 */
export function tellRefused(studio, { change, error }) {
  const again = async () => {
    try {
      await post(`images/${change.imageId}/lease`);
      studio.held = change.imageId === studio.imageId || studio.held;
      banner("outbox", null);
      banner("lease", null);
      await studio.outbox.send();
      studio.update();
    } catch (failure) {
      notifyError(failure);
    }
  };
  const asNew = () => {
    Object.assign(change, {
      kind: "create",
      id: null,
      body: { ...change.body, score: null, request_id: crypto.randomUUID?.() ?? `${Date.now()}` },
    });
    again().then(() => studio.kept.load());
  };
  const giveUp = async () => {
    const lost = studio.outbox.waiting.filter(({ imageId }) => imageId === change.imageId).length;
    const sure = await confirmDialog("Give the changes up?", `${plural(lost, "change")} that the server did not take will be lost.`, "Give up");
    if (!sure) return;
    studio.outbox.giveUp(change.imageId);
    banner("outbox", null);
    await studio.outbox.send(); // tells what else is refused
    if (change.imageId !== studio.imageId) return;
    studio.draft = null;
    await studio.kept.load().catch(notifyError);
  };
  const actions = [
    { label: "Take the image again and send", act: again, primary: true },
    change.kind === "replace" && { label: "Keep mine as a new mask", act: asNew },
    { label: "Give up", act: giveUp },
  ];
  banner("outbox", `Not saved: ${error.message}. Your changes wait here.`, actions.filter(Boolean), "bad");
}
