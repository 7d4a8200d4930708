/** The files that a k6 script imports or opens, wherever they are. */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { transformSync } from "esbuild";
import { RunFailure } from "./types";

/** A script with all that it names. */
export interface ScriptFiles {
  /** The script's own name among the files. */
  script: string;
  /** By their paths from the folder that has all of them, with `/`, sorted. */
  files: { name: string; content: Buffer }[];
}

/**
 * The script and each file that it, or one of those, names in a text: `"../lib/api.js"`,
 * `open("users.csv")`. A text that begins with `./` or `../` may name a folder, too, as
 * `` `./data/${name}.json` `` does: of that all files are taken. k6 knows no packages, and a path that
 * is put together of nothing but variables is nobody's to know.
 *
 * @throws RunFailure when one cannot be read
 */
export function scriptFiles(script: string): ScriptFiles {
  const start = path.resolve(script);
  const found = new Map<string, Buffer>();
  const waiting = [start];
  try {
    for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
      if (found.has(file)) continue;
      const content = fs.readFileSync(file);
      found.set(file, content);
      waiting.push(...namedIn(file, content, path.dirname(start)));
    }
  } catch (error) {
    throw new RunFailure(
      `the files of the script ${script} cannot all be read: ${(error as Error).message}`,
    );
  }
  const root = commonFolder([...found.keys()]);
  const nameOf = (file: string) => path.relative(root, file).split(path.sep).join("/");
  return {
    script: nameOf(start),
    files: [...found]
      .map(([file, content]) => ({ name: nameOf(file), content }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

/** The files that are named in one: k6 looks beside it and, for `grpc.load`, beside the script. */
function namedIn(file: string, content: Buffer, scriptFolder: string): string[] {
  if (!/\.([cm]?[jt]s|tsx|jsx|proto)$/.test(file)) return [];
  const text = meaning(file, content).toString();
  // Quotes together, as most code has them, and each kind by itself, since one may be within another:
  // what is no name of a file costs nothing.
  const double = /"((?:[^"\\\n]|\\.)+)"/g;
  const single = /'((?:[^'\\\n]|\\.)+)'/g;
  const either = new RegExp(`${double.source}|${single.source}`, "g");
  const names = [either, double, single, /`([^`$\\\n]+)`/g].flatMap((quoted) =>
    [...text.matchAll(quoted)].map(([, one, other]) => unescaped(one ?? other)),
  );
  const begun = [...text.matchAll(/`(\.{1,2}\/[^`$\\]*)\$\{/g)].map(([, start]) =>
    start.slice(0, start.lastIndexOf("/") + 1),
  );
  return [...new Set([...names, ...begun])].flatMap((name) =>
    [...new Set([path.dirname(file), scriptFolder])].flatMap((folder) => filesAt(folder, name)),
  );
}

const controls: Record<string, string> = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f", v: "\v" };

/** A text between quotes as JavaScript reads it. */
const unescaped = (text: string) =>
  text.replace(/\\(?:u\{([\da-f]{1,6})\}|u([\da-f]{4})|x([\da-f]{2})|(.))/gis, (_, ...found) => {
    const code = parseInt(found.slice(0, 3).find(Boolean) ?? "", 16);
    if (Number.isNaN(code)) return controls[found[3]] ?? found[3];
    return code <= 0x10ffff ? String.fromCodePoint(code) : "";
  });

/** The file of this name, or those of a folder that a text means as one; none if there is none. */
function filesAt(folder: string, name: string): string[] {
  const relative = name.replace(/^file:\/\/(?=\.)/, "");
  if (path.isAbsolute(relative)) return [];
  const place = path.resolve(folder, relative);
  const found = statOf(place);
  if (found?.isFile()) return [place];
  const isMeant = /^\.{1,2}\/.*[^./]/.test(relative);
  if (!found?.isDirectory() || !isMeant) return [];
  return fs
    .readdirSync(place, { recursive: true, encoding: "utf8" })
    .filter((each) => !/(^|[\\/])(node_modules|\.git)[\\/]/.test(each))
    .map((each) => path.join(place, each))
    .filter((each) => statOf(each)?.isFile());
}

/** What is at a path; nothing where any text is no path, such as one that is too long. */
function statOf(place: string): fs.Stats | undefined {
  try {
    return fs.statSync(place);
  } catch {
    return undefined;
  }
}

/** The deepest folder that has all files in it. */
function commonFolder(files: string[]): string {
  const parts = files.map((file) => path.dirname(file).split(path.sep));
  const [first] = parts;
  const end = first.findIndex((part, at) => parts.some((each) => each[at] !== part));
  const common = end === -1 ? first : first.slice(0, end);
  return common.join(path.sep) || path.sep;
}

/** Changes when the script or a file that it names does, but for their comments and layout. */
export function scriptHash(script: string): string {
  const hash = crypto.createHash("sha256");
  for (const { name, content } of scriptFiles(script).files) {
    const kept = meaning(name, content);
    hash.update(`${name}\0${kept.length}\0`).update(kept);
  }
  return hash.digest("hex");
}

/** What of a file k6 goes by: of code, no comment. A file that does not compile is taken whole. */
function meaning(name: string, content: Buffer): Buffer {
  const kind = /\.[cm]?([jt]s)$/.exec(name)?.[1] as "js" | "ts" | undefined;
  if (!kind) return content;
  try {
    const { code } = transformSync(content.toString(), {
      loader: kind,
      minifyWhitespace: true,
      charset: "utf8",
      legalComments: "none",
      logLevel: "silent",
    });
    return Buffer.from(code);
  } catch {
    return content;
  }
}
