/** This project's folder, wherever a program of it was bundled to (see launch.js) or is started from. */
import * as fs from "node:fs";
import * as path from "node:path";

function folderOfProject(below: string): string {
  return fs.existsSync(path.join(below, "Pulumi.yaml"))
    ? below
    : folderOfProject(path.dirname(below));
}

export const root = folderOfProject(__dirname);
