/**
 * The REST API: one function for requests, which adds the CSRF token and turns every failure into an
 * ApiError with one clear line, and one for lists that come in pages. No state but the sign-in.
 */

import { inOwnWords } from "./refusals.js";
import { t } from "./texts.js";

/** @typedef {{id: number, name: string, role: "annotator" | "reviewer" | "admin"}} User */

export const OFFLINE = 0; // status of an error without an answer
const AFTER_S = 20; // without an answer by then, a request counts as lost; repeating it is safe

export class ApiError extends Error {
  /** @param {number} status of HTTP; 0 when the server cannot be reached */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** @type {{user: User | null, csrfToken: string, local: boolean}} */
export const signedIn = { user: null, csrfToken: "", local: false };

let onSignedOut = () => {};

/** Set what happens when the sign-in has expired. @param {() => void} callback */
export function whenSignedOut(callback) {
  onSignedOut = callback;
}

export const isReviewer = () => ["reviewer", "admin"].includes(signedIn.user?.role);
export const isAdmin = () => signedIn.user?.role === "admin";

/**
 * @param {string} method
 * @param {string} path below /api
 * @param {object} [body] sent as JSON; a Blob as it is
 * @throws {ApiError}
 */
export async function request(method, path, body, { timeoutS = AFTER_S } = {}) {
  let response = await send(method, path, body, timeoutS);
  const refused = response.status === 403 && method !== "GET" && path !== "session";
  if (refused && (await hasNewSignIn())) response = await send(method, path, body, timeoutS);
  if (response.ok) return response.status === 204 ? null : await answerOf(response);
  const detail = await response.json().then(({ detail }) => detail, () => response.statusText);
  if (response.status === 401 && path !== "session") onSignedOut();
  throw new ApiError(response.status, inOwnWords(String(detail ?? response.statusText)));
}

async function send(method, path, body, timeoutS) {
  const headers = {};
  if (method !== "GET") headers["X-CSRF-Token"] = signedIn.csrfToken;
  const raw = body instanceof Blob;
  if (body !== undefined && !raw) headers["Content-Type"] = "application/json";
  try {
    return await fetch(`/api/${path}`, {
      method,
      headers,
      body: body === undefined || raw ? body : JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(timeoutS * 1000),
    });
  } catch {
    throw new ApiError(OFFLINE, t("The server cannot be reached."));
  }
}

/**
 * Whether the same person has signed in again in another tab, which changes the CSRF token.
 * @throws {ApiError} it was somebody else, in whose name nothing must be sent
 */
async function hasNewSignIn() {
  const response = await send("GET", "session", undefined, AFTER_S);
  if (!response.ok) return false;
  const now = await answerOf(response);
  if (now.csrf_token === signedIn.csrfToken) return false;
  if (now.user.id === signedIn.user?.id) return Boolean(storeSignIn(now));
  onSignedOut();
  throw new ApiError(401, t("{name} signed in from another tab of this browser.", { name: now.user.name }));
}

export const get = (path) => request("GET", path);
/** A list that fits on one page. */
export const getItems = async (path) => (await get(path)).items;
export const post = (path, body = {}) => request("POST", path, body);
export const put = (path, body) => request("PUT", path, body);
export const patch = (path, body) => request("PATCH", path, body);
export const remove = (path) => request("DELETE", path);

/** Download a file, such as an export; the server may take minutes. @returns {Promise<Blob>} */
export async function download(path) {
  let response;
  try {
    response = await fetch(`/api/${path}`, { credentials: "same-origin" });
  } catch {
    throw new ApiError(OFFLINE, t("The server cannot be reached."));
  }
  if (response.ok) return response.blob();
  const detail = await response.json().then(({ detail }) => detail, () => response.statusText);
  throw new ApiError(response.status, inOwnWords(String(detail)));
}

/** All items of a list, fetched page by page. */
export async function listAll(path, limit = 200) {
  const items = [];
  let after = 0;
  while (after !== null) {
    const page = await get(`${path}?after=${after}&limit=${limit}`);
    items.push(...page.items);
    after = page.next_after;
  }
  return items;
}

/**
 * Read lines of JSON as they come.
 * @param {(line: object) => void} take @param {AbortSignal} signal ends it without an error
 */
export async function lines(path, take, signal) {
  try {
    const response = await fetch(`/api/${path}`, { credentials: "same-origin", signal });
    if (!response.ok) throw new ApiError(response.status, await response.json().then(({ detail }) => detail, () => response.statusText));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const found = (rest + part.value).split("\n");
      rest = found.pop();
      for (const line of found) take(JSON.parse(line));
    }
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof ApiError ? error : new ApiError(OFFLINE, t("The server cannot be reached."));
  }
}

/** A query string; of a list, each item is a value of its own. */
export function query(values) {
  const all = Object.entries(values).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return new URLSearchParams(all.filter(([, value]) => value !== null && value !== "")).toString();
}

/** @param {string | null} [range] values that become black and white */
export function imageUrl(imageId, maxSide, range = null) {
  const wanted = query({ max_side: maxSide ?? "", value_range: range ?? "" });
  return `/api/images/${imageId}/content${wanted && `?${wanted}`}`;
}

function storeSignIn({ user, csrf_token: token, local }) {
  Object.assign(signedIn, { user, csrfToken: token, local });
  return signedIn;
}

export const loadSignIn = async () => storeSignIn(await get("session"));

/** @param {{name: string, password: string} | {token: string}} secret */
export const signIn = async (secret) => storeSignIn(await post("session", secret));

export async function signOut() {
  await remove("session");
  signedIn.user = null;
}

/** Parse an answer. Something in between, such as a network's sign-in page, does not send JSON. */
async function answerOf(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError(OFFLINE, t("The answer was incomplete or did not come from the server."));
  }
}
