/** Programs that tests put in place of real ones. */
import * as fs from "node:fs";
import * as path from "node:path";

/**
 * A shell script that leaves its arguments, each ended by a zero byte, in a file beside it, and then does
 * more; its folder is `$here`. Gives its path.
 */
export function program(place: string, name: string, more = ""): string {
  fs.mkdirSync(place, { recursive: true });
  const file = path.join(place, name);
  const script = `#!/bin/sh\nhere="\${0%/*}"\nprintf '%s\\0' "$@" > "$here/arguments"\n${more}\n`;
  fs.writeFileSync(file, script, { mode: 0o755 });
  return file;
}

/** The arguments of its last call. */
export const argumentsOf = (place: string) =>
  fs.readFileSync(path.join(place, "arguments"), "utf8").split("\0").slice(0, -1);
