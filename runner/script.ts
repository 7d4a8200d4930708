/** The files that a k6 script may import or open: everything in its folder. */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { buildSync, transformSync } from "esbuild";
import { RunFailure } from "./types";

/**
 * The files beside a script, by name with `/`, sorted; without `node_modules` and `.git`.
 *
 * @throws RunFailure when one cannot be read, or its name is not UTF-8
 */
export function scriptFiles(script: string): { name: string; content: Buffer }[] {
  const folder = path.dirname(script);
  try {
    return fs
      .readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
      .filter((file) => !/(^|[\\/])(node_modules|\.git)[\\/]/.test(file))
      .map((file) => ({
        name: file.split(path.sep).join("/"),
        content: fs.readFileSync(path.join(folder, file)),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    throw new RunFailure(
      `the files beside the script ${script} cannot all be read: ${(error as Error).message}`,
    );
  }
}

/** Changes when the script or a file beside it does, but for their comments and layout. */
export function scriptHash(script: string): string {
  const hash = crypto.createHash("sha256");
  for (const { name, content } of scriptFiles(script)) {
    const kept = meaning(name, content);
    hash.update(`${name}\0${kept.length}\0`).update(kept);
  }
  return hash.digest("hex");
}

/** The names that a script exports, such as `default`, `options` and `setup`. */
export function exportsOf(script: string): string[] {
  const { metafile } = buildSync({
    entryPoints: [path.resolve(script)],
    absWorkingDir: process.cwd(),
    format: "esm",
    write: false,
    metafile: true,
    logLevel: "silent",
  });
  return Object.values(metafile.outputs).flatMap(({ exports }) => exports);
}

/** What of a file k6 goes by: of code, no comment. A file that does not compile is taken whole. */
function meaning(name: string, content: Buffer): Buffer {
  const kind = /\.[cm]?([jt]s)$/.exec(name)?.[1] as "js" | "ts" | undefined;
  if (!kind) return content;
  try {
    const { code } = transformSync(content.toString(), {
      loader: kind,
      minifyWhitespace: true,
      legalComments: "none",
      logLevel: "silent",
    });
    return Buffer.from(code);
  } catch {
    return content;
  }
}
