/**
 * The REST API: one function for requests, which adds the CSRF token and turns every failure into an
 * ApiError with one clear line, and one for lists that come in pages. No state but the session.
 */

/** @typedef {{id: number, name: string, role: "annotator" | "reviewer" | "admin"}} User */

export const OFFLINE = 0; // status of an error without an answer
const AFTER_S = 20; // a request without an answer by then counts as lost; it is safe to repeat

export class ApiError extends Error {
  /** @param {number} status of HTTP; 0 when the server cannot be reached */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** @type {{user: User | null, csrfToken: string, local: boolean}} */
export const session = { user: null, csrfToken: "", local: false };

let onSignedOut = () => {};

/** What to do when the session has ended: gives a promise that is kept after signing in again. */
export function whenSignedOut(callback) {
  onSignedOut = callback;
}

export const isReviewer = () => ["reviewer", "admin"].includes(session.user?.role);
export const isAdmin = () => session.user?.role === "admin";

/**
 * @param {string} method
 * @param {string} path below /api
 * @param {object} [body] sent as JSON; a Blob as it is
 * @throws {ApiError}
 */
export async function request(method, path, body, { timeoutS = AFTER_S } = {}) {
  let response = await send(method, path, body, timeoutS);
  const refused = response.status === 403 && method !== "GET" && path !== "session";
  if (refused && (await sessionIsNew())) response = await send(method, path, body, timeoutS);
  if (response.ok) return response.status === 204 ? null : await answerOf(response);
  const detail = await response.json().then(({ detail }) => detail, () => response.statusText);
  if (response.status === 401 && path !== "session") onSignedOut();
  throw new ApiError(response.status, String(detail ?? response.statusText));
}

async function send(method, path, body, timeoutS) {
  const headers = {};
  if (method !== "GET") headers["X-CSRF-Token"] = session.csrfToken;
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
    throw new ApiError(OFFLINE, "The server cannot be reached.");
  }
}

/**
 * Whether the same person has signed in again in another tab, so that this one has learnt another
 * CSRF token. @throws {ApiError} it was somebody else, in whose name nothing must be sent
 */
async function sessionIsNew() {
  const response = await send("GET", "session", undefined, AFTER_S);
  if (!response.ok) return false;
  const now = await answerOf(response);
  if (now.csrf_token === session.csrfToken) return false;
  if (now.user.id === session.user?.id) return Boolean(keep(now));
  onSignedOut();
  throw new ApiError(401, `${now.user.name} has signed in in another tab of this browser.`);
}

export const get = (path) => request("GET", path);
/** A list that comes whole, on one page. */
export const getItems = async (path) => (await get(path)).items;
export const post = (path, body = {}) => request("POST", path, body);
export const put = (path, body) => request("PUT", path, body);
export const patch = (path, body) => request("PATCH", path, body);
export const remove = (path) => request("DELETE", path);

/** A file that the server makes, such as an export; it may take minutes. @returns {Promise<Blob>} */
export async function download(path) {
  let response;
  try {
    response = await fetch(`/api/${path}`, { credentials: "same-origin" });
  } catch {
    throw new ApiError(OFFLINE, "The server cannot be reached.");
  }
  if (response.ok) return response.blob();
  const detail = await response.json().then(({ detail }) => detail, () => response.statusText);
  throw new ApiError(response.status, detail);
}

/** All items of a list, page by page. */
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

export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== "");
  return new URLSearchParams(kept).toString();
}

export const imageUrl = (imageId, maxSide) =>
  `/api/images/${imageId}/content${maxSide ? `?max_side=${maxSide}` : ""}`;

function keep({ user, csrf_token: token, local }) {
  Object.assign(session, { user, csrfToken: token, local });
  return session;
}

export const loadSession = async () => keep(await get("session"));

/** @param {{name: string, password: string} | {token: string}} secret */
export const signIn = async (secret) => keep(await post("session", secret));

export async function signOut() {
  await remove("session");
  session.user = null;
}

/** What the server says. Something in between, such as a sign-in page of a network, says no JSON. */
async function answerOf(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError(OFFLINE, "The answer was cut short, or is not the server's.");
  }
}
