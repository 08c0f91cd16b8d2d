/**
 * What stands in an annotator's way, and the ways out: a lost connection, an image that cannot be
 * read or that somebody else holds, a change that the server refused. Nothing they have done is dropped without their consent.
 */

import { get, post } from "./api.js";
import { confirmDialog, el, plural } from "./dom.js";
import { banner, notifyError } from "./notices.js";
import { NOT_SIGNED_IN } from "./socket.js";

/**
 * @param {object} loss
 * @param {number} loss.code that the connection closed with
 * @param {number} loss.unsent changes that wait in the outbox
 * @param {() => void} loss.retry
 */
export function showLostConnection({ code, unsent, retry }) {
  if (code === NOT_SIGNED_IN) get("status").catch(() => {}); // shows the sign-in form
  const saved = unsent ? `${plural(unsent, "change")} of yours ${unsent === 1 ? "is" : "are"} stored here and will be sent.` : "Your work is stored here.";
  banner("connection", `Connection lost. Trying again. ${saved}`, [{ label: "Try now", act: retry, primary: true }]);
}

/**
 * What is shown in place of an image that cannot be read.
 * @param {object} problem
 * @param {string} problem.detail why, in one line
 * @param {boolean} problem.held whether this user has the lease, without which nothing can be reported
 * @param {(act: "skip" | "unusable", reason: string) => void} problem.setAside
 * @param {() => void} problem.next
 * @param {() => void} problem.again
 */
export function unreadableCard({ detail, held, setAside, next, again }) {
  const button = (kind, text, act) => el(kind, { type: "button", onclick: act }, text);
  return el(
    "section.unreadable",
    { role: "alert" },
    el("h2", {}, "This image cannot be read"),
    el("p", {}, detail),
    el(
      "p.row",
      {},
      button("button.primary", "Next image", () => (held ? setAside("skip", `cannot be read: ${detail}`) : next())),
      held && button("button", "Report as unusable", () => setAside("unusable", `cannot be read: ${detail}`)),
      button("button.plain", "Try again", again),
    ),
  );
}

/**
 * @param {object} parts
 * @param {import("./studio_state.js").StudioState} parts.state
 * @param {import("./saved_masks.js").SavedMasks} parts.masks
 * @param {import("./outbox.js").Outbox} parts.outbox
 * @param {{change: import("./outbox.js").Change, error: import("./api.js").ApiError}} refusal
 */
export function showRefusedChange({ state, masks, outbox }, { change, error }) {
  const again = async () => {
    try {
      await post(`images/${change.imageId}/lease`);
      state.held = change.imageId === state.imageId || state.held;
      banner("outbox", null);
      banner("lease", null);
      await outbox.send();
      state.update();
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
    again().then(() => masks.load());
  };
  const discard = async () => {
    const lost = outbox.waiting.filter(({ imageId }) => imageId === change.imageId).length;
    const sure = await confirmDialog("Discard the changes?", `${plural(lost, "change")} that the server refused will be lost.`, "Discard");
    if (!sure) return;
    outbox.discard(change.imageId);
    banner("outbox", null);
    await outbox.send(); // shows what else is refused
    if (change.imageId !== state.imageId) return;
    state.draft = null;
    await masks.load().catch(notifyError);
  };
  const actions = [
    { label: "Take the image again and send", act: again, primary: true },
    change.kind === "replace" && { label: "Save mine as a new mask", act: asNew },
    { label: "Discard", act: discard },
  ];
  banner("outbox", `Not saved: ${error.message}. Your changes are stored here.`, actions.filter(Boolean), "bad");
}
