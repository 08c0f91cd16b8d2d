/**
 * Start of the app: sign-in, the outbox, and the router. A page is a function that fills the root
 * and returns something with close(); the address after # says which one is open.
 */

import { ApiError, get, getItems, loadSignIn, signIn, signedIn, whenSignedOut } from "./api.js";
import { openAudit } from "./audit.js";
import { confirmDialog, el } from "./dom.js";
import { banner, notifyError, startNotices } from "./notices.js";
import { Outbox } from "./outbox.js";
import { limits } from "./image.js";
import { openProject } from "./project.js";
import { openProjects } from "./projects.js";
import { useKeys } from "./keys.js";
import { followLanguage } from "./language.js";
import { watchWork } from "./own_work.js";
import { loadSettings, readSettings } from "./settings.js";
import { openReview } from "./review.js";
import { SIGN_ON_WORDS, askToSignIn } from "./signin.js";
import { openStudio } from "./studio.js";
import { t } from "./texts.js";
import { startTheme } from "./theme.js";
import { openUsers } from "./users.js";
import { openVideo } from "./video.js";

/** @type {[RegExp, (root: Element, params: object, app: object) => Promise<{close?: () => void}>][]} */
const ROUTES = [
  [/^\/$/, openProjects],
  [/^\/project\/(?<id>\d+)(?:\/(?<tab>statistics|model|classes|team|videos))?$/, openProject],
  [/^\/project\/(?<id>\d+)\/review(?:\/(?<image>\d+))?$/, openReview],
  [/^\/image\/(?<id>\d+)$/, openStudio],
  [/^\/video\/(?<id>\d+)$/, openVideo],
  [/^\/users$/, openUsers],
  [/^\/audit$/, openAudit],
];

const root = document.getElementById("app");
const app = { outbox: null, status: {}, reload: () => route({ force: true }) };
let page = null;
let opening = 0;
let shown = null; // address of the page that is open

async function start() {
  startTheme();
  startNotices();
  await enter();
  whenSignedOut(() => enterAgain());
  window.addEventListener("hashchange", () => route());
  await route();
}

/** Sign in by cookie, by the token in the address, or by name and password. */
async function enter() {
  const address = new URL(location.href);
  const token = address.searchParams.get("token");
  const back = address.searchParams.get("sign-in");
  if (back) {
    address.searchParams.delete("sign-in");
    history.replaceState(null, "", address);
  }
  if (token) {
    address.searchParams.delete("token"); // it must not stay in the address bar or the history
    history.replaceState(null, "", address);
  }
  try {
    await (token ? signIn({ token }) : loadSignIn());
  } catch (error) {
    if (!(error instanceof ApiError) || ![401, 403].includes(error.status)) throw error;
    await askToSignIn(root, token ? t("This link is no longer valid. Use the latest one that the server printed.") : (SIGN_ON_WORDS[back] ?? ""));
  }
  await prepare();
  if (token && signedIn.local && !location.hash) await goToOnlyProject();
}

/** Who annotates one folder has no use for a list of projects. */
async function goToOnlyProject() {
  const projects = await getItems("projects");
  if (projects.length === 1) history.replaceState(null, "", `#/project/${projects[0].id}`);
}

async function prepare() {
  app.status = await get("status");
  limits.fullPixels = app.status.max_megapixels * 1e6;
  await loadSettings();
  await followLanguage();
  useKeys(readSettings().keys);
  await watchWork();
  app.outbox?.stop();
  app.outbox = await Outbox.open(signedIn.user.id);
  if (!app.outbox.isEmpty) app.outbox.send();
}

let asking = null;

/** The sign-in has expired: ask to sign in again above the page, whose state stays. */
function enterAgain() {
  const before = signedIn.user?.id;
  asking ??= askToSignIn(null, t("You have been signed out. Sign in again to continue; your work is still here.")).then(async (done) => {
    asking = null;
    if (!done) {
      banner("sign-in", t("You are signed out: nothing is saved until you sign in."), [{ label: t("Sign in"), act: enterAgain, primary: true }]);
      return;
    }
    banner("sign-in", null);
    if (signedIn.user.id === before) {
      app.outbox?.send();
      page?.connectAgain?.();
    } else {
      await prepare();
      await route({ force: true });
    }
  });
}

async function route({ force = false } = {}) {
  const address = location.hash.replace(/^#/, "") || "/";
  if (address === shown && !force) return;
  if (!force && page?.busy) {
    const leave = await confirmDialog(t("Leave this mask?"), t("The current mask is not accepted yet. It is kept here, and is back when you open the image again."), t("Leave"));
    if (!leave) {
      history.replaceState(null, "", `#${shown}`);
      return;
    }
  }
  const own = ++opening;
  // A page that is ready only when another one is asked for must not take its place.
  const place = { replaceChildren: (...nodes) => own === opening && root.replaceChildren(...nodes) };
  page?.close?.();
  page = null;
  shown = address;
  for (const [pattern, open] of ROUTES) {
    const match = pattern.exec(address);
    if (!match) continue;
    try {
      const opened = await open(place, { ...match.groups }, app);
      if (own === opening) page = opened;
      else opened?.close?.({ isShown: false }); // another page was asked for meanwhile
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (own === opening) showError(error);
    }
    return;
  }
  showError(new ApiError(404, t("Page not found.")));
}

function showError(error) {
  notifyError(error);
  root.replaceChildren(
    startNotices(),
    el(
      "main.message",
      {},
      el("h1", {}, error.status === 0 ? t("No connection") : t("This page cannot be shown")),
      el("p", {}, error.message),
      el("p.row", {}, el("button.primary", { type: "button", onclick: () => route({ force: true }) }, t("Try again")), el("a.button", { href: "#/" }, t("All projects"))),
    ),
  );
}

start().catch((error) => {
  root.replaceChildren(el("main.message", {}, el("h1", {}, t("The studio could not start")), el("p", {}, error.message), el("button.primary", { type: "button", onclick: () => location.reload() }, t("Try again"))));
  if (!(error instanceof ApiError)) throw error;
});
