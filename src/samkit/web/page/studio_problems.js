/**
 * What stands in an annotator's way, and the ways out: a lost connection, an image that cannot be
 * read or that somebody else holds, a change that the server refused. Nothing they have done is dropped without their consent.
 */

import { get, getItems, post } from "./api.js";
import { confirmDialog, el } from "./dom.js";
import { banner, notifyError } from "./notices.js";
import { NOT_SIGNED_IN } from "./socket.js";
import { t, tn } from "./texts.js";

/**
 * @param {object} loss
 * @param {number} loss.code that the connection closed with
 * @param {() => void} loss.retry
 */
export function showLostConnection({ code, retry }) {
  if (code === NOT_SIGNED_IN) get("status").catch(() => {}); // shows the sign-in form
  banner("connection", t("Connection lost. Trying again. Your work is stored here and will be sent."), [{ label: t("Try now"), act: retry, primary: true }]);
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
    el("h2", {}, t("This image cannot be read")),
    el("p", {}, detail),
    el(
      "p.row",
      {},
      button("button.primary", t("Next image"), () => (held ? setAside("skip", t("cannot be read: {why}", { why: detail })) : next())),
      held && button("button", t("Report as unusable"), () => setAside("unusable", t("cannot be read: {why}", { why: detail }))),
      button("button.plain", t("Try again"), again),
    ),
  );
}

/**
 * Say that the server refused a change, with what can be done about it: if the mask was changed
 * elsewhere, one of the two states is chosen, or both are saved; else the image is taken again.
 * @param {object} parts
 * @param {import("./studio_state.js").StudioState} parts.state
 * @param {import("./saved_masks.js").SavedMasks} parts.masks
 * @param {import("./outbox.js").Outbox} parts.outbox
 * @param {{change: import("./outbox.js").Change, error: import("./api.js").ApiError}} refusal
 */
export async function showRefusedChange({ state, masks, outbox }, { change, error }) {
  const { imageId, kind, what } = change;
  const newer = await newerVersion(change).catch(() => null);
  const reload = async () => {
    if (imageId !== state.imageId) return;
    state.draft = null;
    await Promise.all([masks.load(), masks.tags?.load()]).catch(notifyError);
    state.update();
  };
  const again = async () => {
    try {
      await post(`images/${imageId}/lease`);
      state.held = imageId === state.imageId || state.held;
      banner("outbox", null);
      banner("lease", null);
      await outbox.send();
      state.update();
    } catch (failure) {
      notifyError(failure);
    }
  };
  const over = async () => {
    outbox.rebase(change.key, newer);
    await again();
    await reload();
  };
  const asNew = async () => {
    const key = newKey();
    const { key: before } = change;
    Object.assign(change, { kind: "create", id: null, body: { ...change.body, score: null, request_id: key } });
    for (const other of outbox.waiting) if (other.key === before) other.key = key; // later changes follow it
    await again();
    await reload();
  };
  const takeTheirs = async () => {
    outbox.discardChange(change);
    banner("outbox", null);
    await outbox.send();
    await reload();
  };
  const discard = async () => {
    const lost = outbox.waiting.filter((other) => other.imageId === imageId).length;
    const sure = await confirmDialog(t("Discard the changes?"), tn("{n} change that the server refused will be lost.", "{n} changes that the server refused will be lost.", lost), t("Discard"));
    if (!sure) return;
    outbox.discard(imageId);
    banner("outbox", null);
    await outbox.send(); // shows what else is refused
    await reload();
  };
  const isStale = newer !== null;
  const actions = isStale
    ? [
        kind === "replace" && { label: t("Save mine over it"), act: over, primary: true },
        kind === "replace" && !what && { label: t("Save mine as a new mask"), act: asNew },
        kind === "delete" && { label: t("Delete it all the same"), act: over, primary: true },
        { label: t("Take what is there now"), act: takeTheirs, primary: !["replace", "delete"].includes(kind) },
      ]
    : [
        { label: t("Take the image again and send"), act: again, primary: true },
        kind === "replace" && !what && { label: t("Save mine as a new mask"), act: asNew },
        { label: t("Discard"), act: discard },
      ];
  const elsewhere = what ? t("Not saved: the tags were changed elsewhere meanwhile. Nothing is lost: all states are stored.") : t("Not saved: this mask was changed elsewhere meanwhile. Nothing is lost: all states are stored.");
  banner("outbox", isStale ? elsewhere : t("Not saved: {why}. Your changes are stored here.", { why: error.message }), actions.filter(Boolean), "bad");
}

const newKey = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;

/** The version of a mask that is newer than the one a change is based on; null if there is none. */
async function newerVersion({ kind, what, imageId, id, version }) {
  if (kind === "create") return null;
  if (what === "tags") {
    const { version: now } = await get(`images/${imageId}/tags`);
    return now === version ? null : now;
  }
  const all = await getItems(`images/${imageId}/annotations?deleted=true`);
  const now = all.find((one) => one.id === id)?.version ?? version;
  return now === version ? null : now;
}
