/**
 * What k6 is given to run: a module that imports the script and exports all that it does, with two
 * things of its own. Its options have the tags that a run needs, and its summary tells what k6
 * counted before the script's own summary may change that.
 *
 * k6 reads it from standard input in the script's folder, so that all paths are found as if the
 * script itself were run.
 */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../root";

/** What of a script's options is not as the script has it. */
export interface Changed {
  testid: string;
  systemTags: string[];
  summaryTrendStats: string[];
  /** In place of all that says how much load there is, and of all thresholds. */
  scenarios?: object;
}

/** The module for a script at `script`; what the summary writes goes into the folder `files`. */
export type Entry = (place: { script: string; files: string }) => string;

/** Begins each line in which the module tells something: no script can know it. */
export const newMark = () => `told-${crypto.randomBytes(8).toString("hex")}`;

/**
 * A text letter by letter, as `t~o~l~d`: k6 takes what is secret out of all that it logs, and a script's
 * secret may be a word or a number that the module tells.
 */
export const spelled = (text: string) => [...text].join("~");

const moduleOf = (script: string, mark: string) => {
  const url = JSON.stringify(pathToFileURL(script).href);
  return (
    `import * as script from ${url};\n` +
    `export * from ${url};\n` +
    `export default script.default;\n` +
    `const tell = (text) => console.log([..."${mark} " + encodeURIComponent(text)].join("~"));\n`
  );
};

/** The module that says what a script exports, for `k6 inspect`. */
export const inspectEntry =
  (mark: string): Entry =>
  ({ script }) =>
    moduleOf(script, mark) + `tell(Object.keys(script));\n`;

/** The module that runs a script. */
export const runEntry =
  (mark: string, changed: Changed): Entry =>
  ({ script, files }) =>
    moduleOf(script, mark) +
    `const [changed, files] = ${JSON.stringify([changed, files])};\n` +
    fs.readFileSync(path.join(root, "runner/entry.k6.js"), "utf8");

/**
 * Takes what the module has told out of a folder's `k6.log`: its texts, in order.
 */
export function takeTold(dir: string, mark: string): string[] {
  const file = path.join(dir, "k6.log");
  if (!fs.existsSync(file)) return [];
  const log = fs.readFileSync(file, "utf8");
  const line = new RegExp(
    `time="[^"\\n]*" level=info msg="?${spelled(`${mark} `)}((?:~[^" \\n])*)"? source=console\\n?`,
    "g",
  );
  const told = [...log.matchAll(line)].map(([, text]) => decoded(text));
  if (told.length > 0) fs.writeFileSync(file, log.replace(line, ""));
  return told;
}

/** A text, each letter after a `~`, that may be torn by the end of who wrote it. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replace(/~(.)/g, "$1"));
  } catch {
    return "";
  }
}
