/**
 * What people can say of masks and images besides classes, as the project offers it.
 *
 * @typedef {{name: string, kind: "flag" | "choice" | "number" | "text", choices: string[]}} Attribute
 * @typedef {{attributes: Attribute[], tags: string[], class_required: boolean}} Labelling
 * @typedef {Record<string, boolean | number | string>} Values of a mask by the attributes' names; flags that are not set are left out
 */

import { attributeName } from "./words.js";

/** Flags that every project's masks have. */
export const FLAGS = ["crowd", "difficult", "occluded", "truncated"];

export const NOTHING = { attributes: [], tags: [], class_required: false };

/** All attributes of a project's masks. @param {Labelling} labelling @returns {Attribute[]} */
export const attributesOf = ({ attributes }) => [...FLAGS.map((name) => ({ name, kind: "flag", choices: [] })), ...attributes];

/** Values with one changed; false, null and empty texts say nothing, and are left out. @returns {Values} */
export function withValue(values, name, value) {
  const { [name]: _, ...rest } = values;
  return value === false || value === null || value === "" ? rest : { ...rest, [name]: value };
}

export function sameValues(one, other) {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}

/** Values in words. @param {Values} values */
export function wordsOf(values) {
  return Object.entries(values).sort().map(([name, value]) => (value === true ? attributeName(name) : `${name} ${value}`)).join(", ");
}
