/**
 * What waits for the signed-in person in each project: images that were returned or assigned to them.
 * It is asked for now and then, and news is told wherever they are on the page.
 *
 * @typedef {{project_id: number, project_name: string, num_returned: number, num_assigned: number}} OwnWork
 */

import { getItems } from "./api.js";

import { notify } from "./notices.js";
import { t, tn } from "./texts.js";

const EVERY_MS = 60_000;

export const news = new EventTarget();
/** @type {OwnWork[]} */
let work = [];
let timer = 0;

export const workIn = (projectId) => work.find(({ project_id: id }) => id === projectId) ?? { num_returned: 0, num_assigned: 0 };

/** The number of returned images, and the project of the first ones. */
export function returned() {
  const found = work.filter(({ num_returned: count }) => count > 0);
  return { count: found.reduce((sum, { num_returned: count }) => sum + count, 0), projectId: found[0]?.project_id ?? null };
}

/** Begin to watch, for whoever is signed in now. */
export async function watchWork() {
  clearInterval(timer);
  work = [];
  timer = setInterval(refreshWork, EVERY_MS);
  await refreshWork();
}

export async function refreshWork() {
  const now = await getItems("session/work").catch(() => null); // tried again in a minute
  if (!now) return;
  const before = work;
  work = now;
  for (const { project_id: id, project_name: name, num_returned: count } of now) {
    const more = count - (before.find((one) => one.project_id === id)?.num_returned ?? 0);
    if (more > 0) notify(tn("{n} image was returned to you in {project}.", "{n} images were returned to you in {project}.", more, { project: name }), "info", { label: t("Open"), act: () => (location.hash = `#/project/${id}`) });
  }
  news.dispatchEvent(new Event("changed"));
}
