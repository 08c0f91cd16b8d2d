/** Why the server refused something: it says so in English, and the page says the commonest lines in its language. */

import { language, t } from "./texts.js";

/** What the server says, and how the page says it; the names in both are the same. @type {[RegExp, (values: Record<string, string>) => string][]} */
const LINES = [
  [/^(?<path>.+) is held by somebody else/, (values) => t("{path} is held by somebody else", values)],
  [/^(?<path>.+) is held by (?<name>.+): take it first$/, (values) => t("{path} is held by {name}: take it first", values)],
  [/^.+ (?:is|are) at version \d+ now; the .+: reload/, () => t("it has been changed elsewhere meanwhile: load it again")],
  [/^(?<path>.+) is (?:submitted|accepted): only a reviewer may change it$/, (values) => t("{path} is submitted already: only a reviewer may change it", values)],
  [/^(?<path>.+) has been reviewed since$/, (values) => t("{path} has been reviewed since", values)],
  [/^(?<path>.+) is assigned to somebody else$/, (values) => t("{path} is assigned to somebody else", values)],
  [/^(?<path>.+) is being followed: wait, or stop it$/, (values) => t("{path} is being followed: wait, or stop it", values)],
  [/^annotation \d+ belongs to another annotator/, () => t("the mask belongs to another annotator")],
  [/^sign in first$/, () => t("sign in first")],
  [/^wrong name or password$/, () => t("wrong name or password")],
  [/^the old password is wrong$/, () => t("the old password is wrong")],
  [/^too many attempts: wait a few minutes$/, () => t("too many attempts: wait a few minutes")],
  [/^wrong token: open the address that samkit printed$/, () => t("wrong token: open the address that samkit printed")],
  [/^the header X-CSRF-Token is missing or wrong/, () => t("the sign-in is no longer valid: load the page again")],
  [/^this needs the role /, () => t("your role does not allow this")],
  [/^the file is too large: at most (?<bytes>[\d,]+) bytes$/, ({ bytes }) => t("the file is too large: at most {bytes} bytes", { bytes })],
  [/^a password must have (?<least>\d+) to (?<most>\d+) characters/, (values) => t("a password must have {least} to {most} characters", values)],
  [/^there is a user (?<name>'.*') already$/, (values) => t("there is a user {name} already", values)],
  [/^there is a project (?<name>'.*') already$/, (values) => t("there is a project {name} already", values)],
  [/^there is a class (?<name>'.*') already$/, (values) => t("there is a class {name} already", values)],
  [/^there is no .+ \d+$/, () => t("it is not there, or no longer")],
  [/^nothing is found at this prompt: give other points, or a box$/, () => t("nothing is found at this prompt: give other points, or a box")],
  [/^too many prompts are waiting for an answer$/, () => t("too many prompts are waiting for an answer")],
  [/^the database cannot be used now: try again later$/, () => t("the database cannot be used now: try again later")],
  [/^the server cannot write its files: contact its administrator$/, () => t("the server cannot write its files: contact its administrator")],
  [/^the server is busy with this: try again later$/, () => t("the server is busy with this: try again later")],
  [/^something went wrong on the server$/, () => t("something went wrong on the server")],
];

/** A line of the server in the page's language, as far as it is known; else as it is. */
export function inOwnWords(line) {
  if (language === "en") return line;
  for (const [pattern, words] of LINES) {
    const found = pattern.exec(line);
    if (found) return words(found.groups ?? {});
  }
  return line;
}
