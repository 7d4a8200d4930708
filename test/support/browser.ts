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

/** Grafana's pages, as its administrator sees them; every answer to them is looked at. */
export class GrafanaPages {
  /** What went wrong with a request or in a page's own code, since `open`. */
  complaints: string[] = [];
  /** The queries that InfluxDB was asked since `open`. */
  queries: string[] = [];

  constructor(
    readonly page: Page,
    private readonly url: string,
  ) {
    page.on("pageerror", ({ message }) => this.complaints.push(message));
    page.on("response", async (response) => {
      const { pathname } = new URL(response.url());
      if (!pathname.startsWith("/api/")) return;
      if (response.status() >= 400) this.complaints.push(`${response.status()} for ${pathname}`);
      if (pathname !== "/api/ds/query") return;
      const asked = response.request().postDataJSON()?.queries ?? [];
      this.queries.push(...asked.map(({ query }: { query: string }) => query));
      // A page that is left takes its answers along.
      const results = await response.json().then(
        (body) => body.results ?? {},
        () => ({}),
      );
      for (const { error } of Object.values<{ error?: string }>(results)) {
        if (error) this.complaints.push(error);
      }
    });
  }

  async signIn(password: string) {
    await this.page.goto(`${this.url}/login`);
    await this.page.fill("input[name=user]", "admin");
    await this.page.fill("input[name=password]", password);
    await this.page.click("button[type=submit]");
    await this.page.waitForURL(({ pathname }) => pathname === "/");
  }

  /** Opens a page and waits until it asks no more. */
  async open(address: string) {
    [this.complaints, this.queries] = [[], []];
    await this.page.goto(new URL(address, this.url).href);
    await this.page.waitForLoadState("networkidle");
  }

  panel(title: string) {
    return this.page.locator("section", { has: this.page.getByText(title, { exact: true }) });
  }

  /** What a panel draws its lines on: there as soon as it has data. */
  curve(title: string) {
    return this.panel(title).locator(".uplot canvas").first();
  }

  /** A panel's legend: figures by the name of the line, in the order of their columns. */
  async legend(title: string): Promise<Record<string, number[]>> {
    const rows = await this.panel(title).locator("table tbody tr").all();
    const cells = await Promise.all(rows.map((row) => row.locator("td").allTextContents()));
    return Object.fromEntries(
      cells.map(([name, ...figures]) => [name.trim(), figures.map((text) => parseFloat(text))]),
    );
  }
}
