/** A headless Chromium that reaches nothing but this machine. */
import { accessSync, constants } from "node:fs";
import * as path from "node:path";
import { chromium, type Page } from "playwright-core";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The browser on PATH, if there is one. */
export const browser = (process.env.PATH ?? "")
  .split(path.delimiter)
  .flatMap((folder) => names.map((name) => path.join(folder, name)))
  .find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** Opens an empty page, has it worked on, and closes the browser. */
export async function withPage(work: (page: Page) => Promise<void>): Promise<void> {
  const instance = await chromium.launch({
    executablePath: browser,
    chromiumSandbox: process.getuid?.() !== 0, // Chromium's sandbox refuses root.
    args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
  try {
    await work(await instance.newPage({ viewport: { width: 1600, height: 1000 } }));
  } finally {
    await instance.close();
  }
}
