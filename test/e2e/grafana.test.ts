/**
 * Grafana as people have it: its pages in a browser, and what is in it when its container, its
 * image, its port or its volume is another. An API that answers is not a page that draws.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { history } from "../../dashboards/queries";
import { route } from "../../k6/profile";
import { Digest } from "../../runner/digest";
import { query, write } from "../../runner/influxdb";
import { root } from "../../root";
import { freePort } from "../../runner/ports";
import { browser, GrafanaPages, withPage } from "../support/browser";
import { GrafanaApi } from "../support/grafana";
import { otherImage } from "../support/images";
import { Clone, freePorts, printed, stackImages, type Settings } from "../support/stack";
import { succeeds } from "../support/succeeds";

const latencies = {
  p99Ms: "HTTP Request Duration (p99)",
  p95Ms: "HTTP Request Duration (p95)",
  avgMs: "HTTP Request Duration (avg)",
};
const titles = [...Object.values(latencies), "RPS (Requests per Second)"];
/** What a panel's lines are called. */
const names = ["p99", "p95", "avg", "RPS"];

let missing: string | undefined;
let clone: Clone;
let images: Settings;
let ports: Awaited<ReturnType<typeof freePorts>>;
let password: string;

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) {
    missing = found.missing;
    return;
  }
  images = found.images;
  ports = await freePorts();
  const load = { target: "sample", rate: 50, timeUnit: "1s", duration: "15s" };
  clone = new Clone({ ...images, ...ports }, load);
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
const remove = () => clone?.remove();
afterAll(remove);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, remove);

const grafana = (port: number | string = ports.grafanaPort) =>
  new GrafanaApi(`http://127.0.0.1:${port}`, { username: "admin", password });

/** InfluxDB's, who may do everything. */
const administrator = async () => ({
  url: (await clone.outputs()).influxdbUrl,
  username: "admin",
  password: (await clone.secrets())["influxdb-admin-password"],
});

describe("the pages", () => {
  /** Both runs, the older first. */
  let runs: Record<string, any>[];
  /** A folder of pictures for people. */
  const pictures = path.join(root, "build/e2e");

  /** Opens Grafana as its administrator and has it looked at. */
  const look = async (work: (pages: GrafanaPages) => Promise<void>) =>
    withPage(async (page) => {
      const pages = new GrafanaPages(page, `http://127.0.0.1:${ports.grafanaPort}`);
      await pages.signIn(password);
      await work(pages);
    });

  /** The four panels draw a line of each of these runs, and no answer was an error. */
  async function draws(pages: GrafanaPages, ids: string[]) {
    const { page } = pages;
    for (const [index, title] of titles.entries()) {
      for (const id of ids) {
        await page.getByText(`${names[index]}, ${id}`, { exact: true }).first().waitFor();
      }
      await pages.curve(title).waitFor();
    }
    expect(await page.getByText("No data").count()).toBe(0);
    expect(await page.locator("[data-testid*='Panel status error']").count()).toBe(0);
    expect(pages.complaints).toEqual([]);
  }

  /** The dashboard of these runs, on a range. */
  const address = (range: { from: string | number; to: string | number }, ids: string[]) =>
    `/d/coupon-issue?from=${range.from}&to=${range.to}` +
    ids.map((id) => `&var-testid=${id}`).join("");

  beforeEach(({ skip }) => {
    if (!browser) skip("there is no Chromium on PATH");
  });

  it("are there once the stack is up, after two runs", async () => {
    fs.mkdirSync(pictures, { recursive: true });
    succeeds(await clone.make("up"));
    const first = clone.latestRun();
    ({ password } = JSON.parse((await clone.make("password")).stdout));
    const load = clone.make("load");
    await look(async (pages) => {
      // While a run is on.
      const newest = () => clone.runs().at(-1)!;
      await expect.poll(newest, { timeout: 60_000, interval: 200 }).not.toBe(first.id);
      await pages.open(address({ from: "now-5m", to: "now" }, [newest()]));
      await pages.page.getByText(`RPS, ${newest()}`, { exact: true }).first().waitFor();
      expect(pages.complaints).toEqual([]);
    });
    succeeds(await load);
    runs = [first, clone.latestRun()];
  });

  it("draw a run, with its figures in the legends", async () => {
    const [run] = runs;
    await look(async (pages) => {
      await pages.open(run.dashboardUrl);
      await draws(pages, [run.id]);
      await pages.page.screenshot({ path: path.join(pictures, "dashboard.png") });
      for (const [index, figure] of [...Object.keys(latencies), "rps"].entries()) {
        const { [`${names[index]} of the whole run, ${run.id}`]: whole } = await pages.legend(
          titles[index],
        );
        // Grafana shows three digits.
        expect(whole[0] / run[figure], titles[index]).toBeCloseTo(1, 2);
      }
    });
  });

  it("draw a chosen route from its points, and nothing else", async () => {
    const [run] = runs;
    await look(async (pages) => {
      await pages.open(`${run.dashboardUrl}&var-name=${encodeURIComponent(route)}`);
      for (const [index, title] of titles.entries()) {
        const legend = `${names[index]} of these routes, ${run.id}`;
        await pages.page.getByText(legend, { exact: true }).first().waitFor();
        await pages.curve(title).waitFor();
        expect(Object.keys(await pages.legend(title))).not.toContain(`${names[index]}, ${run.id}`);
      }
      await pages.page.screenshot({ path: path.join(pictures, "route.png") });
      expect(pages.complaints).toEqual([]);
    });
  });

  it.each([
    ["several runs", () => runs.map(({ id }) => id)],
    ["all runs", () => ["$__all"]],
  ])("draw %s, over minutes and over days, in dark and light", async (_, chosen) => {
    const ids = runs.map(({ id }) => id);
    const { startedAt } = runs[0];
    await look(async (pages) => {
      for (const [from, theme] of [
        [Date.parse(startedAt) - 10_000, "light"],
        ["now-7d", "dark"],
      ] as const) {
        await pages.open(`${address({ from, to: "now" }, chosen())}&theme=${theme}`);
        await draws(pages, ids);
        await pages.page.screenshot({ path: path.join(pictures, `runs-${theme}.png`) });
      }
    });
  });

  it("say so where no run made an HTTP request", async () => {
    const before = Date.parse(runs[0].startedAt) - 60_000;
    await look(async (pages) => {
      await pages.open(address({ from: before - 60_000, to: before }, ["$__all"]));
      for (const title of titles) {
        await pages.panel(title).getByText("No HTTP requests of these runs").waitFor();
      }
      expect(pages.complaints).toEqual([]);
    });
  });

  it("mark each run from start to end, and lead to it", async () => {
    const [run] = runs;
    const range = { from: Date.parse(run.startedAt) - 20_000, to: Date.parse(run.endedAt) + 5_000 };
    await look(async (pages) => {
      await pages.open(address(range, ["$__all"]));
      const marker = pages.panel(titles[3]).locator("[data-testid*='annotation-marker']").first();
      await marker.waitFor({ state: "attached" });
      await marker.hover({ force: true });
      const link = pages.page.getByRole("link", { name: run.id });
      await link.first().waitFor();
      await pages.page.screenshot({ path: path.join(pictures, "region.png") });
      expect(await link.first().getAttribute("href")).toBe(run.dashboardUrl);
      expect(pages.complaints).toEqual([]);
    });
  });

  it("show all runs as trends and as a table whose links open a run", async () => {
    const [first, second] = runs;
    await look(async (pages) => {
      const { page } = pages;
      await page.setViewportSize({ width: 1600, height: 1400 });
      await pages.open("/d/coupon-issue-runs?from=now-1h&to=now");
      for (const title of [
        "p95 and p99 of runs",
        "RPS and capacity of runs",
        "Failed requests of runs",
      ]) {
        await pages.curve(title).waitFor();
      }
      const link = page.getByRole("link", { name: second.id });
      await link.first().waitFor();
      await page.getByRole("link", { name: first.id }).first().waitFor();
      await page.screenshot({ path: path.join(pictures, "runs.png") });
      expect(pages.complaints).toEqual([]);
      const there = new URL((await link.first().getAttribute("href"))!, page.url()).href;
      await pages.open(there);
      await draws(pages, [second.id]);
      expect(await page.getByText(first.id).count()).toBe(0);
    });
  });

  it("draw 300 runs of a year, and fifty of them that are chosen", async () => {
    const day = 86_400_000;
    const id = (at: number) =>
      `${clone.stack}-${new Date(at).toISOString().replace(/[-:]|\.\d+/g, "")}`;
    const starts = Array.from({ length: 300 }, (_, at) => Date.now() - 364 * day + at * 1.2 * day);
    const lines = starts.flatMap((start, at) => {
      const digest = new Digest(id(start));
      digest.add([[start, 40 + (at % 7)]], 0, Math.ceil(start / 1000) * 1000 + 1000);
      const fields = `p95Ms=${40 + (at % 7)},p99Ms=50,rps=50,startedAtMs=${start},endedAtMs=${start + 1000}`;
      const ledger = `k6_runs,testid=${id(start)},verdict=passed ${fields},outcome="passed",mark="${id(start)}"`;
      return [`${ledger} ${start}000000`, digest.takeNews()];
    });
    await write(await administrator(), "k6", lines.join("\n"), history);
    await look(async (pages) => {
      const { page } = pages;
      await page.setViewportSize({ width: 1600, height: 1400 });
      await pages.open("/d/coupon-issue-runs?from=now-1y&to=now");
      await pages.curve("p95 and p99 of runs").waitFor();
      await page
        .getByRole("link", { name: id(starts.at(-1)!) })
        .first()
        .waitFor();
      await page.screenshot({ path: path.join(pictures, "year.png") });
      expect(pages.complaints).toEqual([]);

      const chosen = starts.slice(-50).map(id);
      await pages.open(address({ from: "now-90d", to: "now" }, chosen));
      for (const title of titles) await pages.curve(title).waitFor();
      const legend = await pages.legend(titles[1]);
      expect(Object.keys(legend)).toEqual(
        expect.arrayContaining([`p95, ${chosen[0]}`, `p95, ${chosen.at(-1)}`]),
      );
      await page.screenshot({ path: path.join(pictures, "fifty.png") });
      expect(pages.complaints).toEqual([]);
    });
  });

  it("list the alert rules", async () => {
    await look(async (pages) => {
      await pages.open("/alerting/list?view=list");
      await pages.page.getByText("4 rules").waitFor();
      await pages.page.getByText("4 normal").first().waitFor();
      await pages.page.screenshot({ path: path.join(pictures, "alerts.png") });
      expect(pages.complaints).toEqual([]);
    });
  });
});

describe("what is in the servers stays", () => {
  /** Made by hand, as people do. */
  const byHand = { uid: "by-hand", title: "By hand" };
  /** The requests of all runs; another port of Grafana's makes one more. */
  const made = () =>
    clone
      .runs()
      .map((id) => JSON.parse(clone.read("runs", id, "summary.json")).requests)
      .reduce((sum, requests) => sum + requests, 0);

  const stored = async () => {
    const count = `SELECT count("value") FROM "http_reqs"`;
    const [[series]] = await query(await administrator(), count, "k6");
    return Number(series?.values[0][1] ?? 0);
  };

  /** `make up` with a change, then again without one: nothing is lost, nothing left to do. */
  async function survives(settings: Settings, port: number | string = ports.grafanaPort) {
    succeeds(await clone.make("up", settings));
    const again = await clone.make("up", settings);
    succeeds(again);
    expect(again.stdout).toMatch(/^ *\d+ unchanged$/m);
    expect(again.stdout).not.toMatch(/^ *[+~-]+ ?\d+ (created|updated|replaced|deleted)$/m);
    const api = grafana(port);
    expect((await api.ask("/api/datasources/uid/k6-influxdb/health")).body.status).toBe("OK");
    for (const uid of ["coupon-issue", "coupon-issue-runs"]) {
      expect((await api.ask(`/api/dashboards/uid/${uid}`)).status, uid).toBe(200);
    }
    return api;
  }

  async function keepsAll(settings: Settings, port?: number | string) {
    const api = await survives(settings, port);
    expect((await api.ask(`/api/dashboards/uid/${byHand.uid}`)).status).toBe(200);
    expect((await api.ask("/api/annotations?tags=by-hand")).body).toMatchObject([{ text: "mine" }]);
    expect(await stored()).toBe(made());
  }

  const container = (service: string) => `coupon-load-test-${clone.stack}-${service}`;

  it("when nothing is changed", async () => {
    succeeds(await clone.make("up"));
    ({ password } = JSON.parse((await clone.make("password")).stdout));
    expect(made()).toBeGreaterThan(0);
    const api = grafana();
    const dashboard = { ...byHand, panels: [], schemaVersion: 42 };
    expect((await api.ask("/api/dashboards/db", { dashboard })).status).toBe(200);
    const mark = { text: "mine", tags: ["by-hand"], time: Date.now() };
    expect((await api.ask("/api/annotations", mark)).status).toBe(200);
    await keepsAll({});
  });

  it("in another image of Grafana", async () => {
    const grafanaImage = await otherImage(String(images.grafanaImage), "grafana", "LABEL other=1");
    await keepsAll({ grafanaImage });
  });

  it("with a mail server, and without it again", async () => {
    // Nobody listens there: Grafana is told of the server, and its test message fails.
    const smtpHost = `127.0.0.1:${await freePort()}`;
    const refused = await clone.make("up", { smtpHost, alertEmail: "team@example.com" });
    expect(refused.lastLine).toContain("alertEmail");
    await keepsAll({});
  });

  it("on another port", async () => {
    const grafanaPort = await freePort();
    await keepsAll({ grafanaPort }, grafanaPort);
    await keepsAll({});
  });

  it("in another image of InfluxDB", async () => {
    const influxdbImage = await otherImage(
      String(images.influxdbImage),
      "influxdb",
      "LABEL other=1",
    );
    await keepsAll({ influxdbImage });
  });

  it("when a container was removed by hand", async () => {
    await printed("docker", "rm", "--force", container("grafana"));
    await keepsAll({});
    await printed("docker", "rm", "--force", container("influxdb"));
    await keepsAll({});
  });

  it("when all containers and their network were removed by hand", async () => {
    const names = (await clone.inDocker()).flatMap((each) => each.split("container ")[1] ?? []);
    await printed("docker", "rm", "--force", ...names);
    await printed("docker", "network", "rm", container("network"));
    await keepsAll({});
  });

  it("but for Grafana's own, when its volume is lost", async () => {
    await printed("docker", "rm", "--force", container("grafana"));
    await printed("docker", "volume", "rm", container("grafana"));
    const api = await survives({});
    expect((await api.ask(`/api/dashboards/uid/${byHand.uid}`)).status).toBe(404);
    expect(await stored()).toBe(made());
  });

  it.each([
    ["a Grafana of before", "grafanaImage", "echo grafana version 9.5.21", "9.5.21: it must be 12"],
    ["no Grafana at all", "grafanaImage", "exit 1", "missing: it does not start there"],
    ["a k6 of another major version", "k6Image", "echo k6 v0.57.0", "0.57.0: it must be 1.x or 2"],
  ])("since %s is refused before anything is changed", async (name, key, says, why) => {
    const program = key === "k6Image" ? "k6" : "grafana";
    const script = `RUN printf '#!/bin/sh\\n${says}\\n' > /bin/${program} && chmod +x /bin/${program}`;
    const file = `USER 0\n${script}\nENV PATH=/bin`;
    const image = await otherImage(String(images.redisImage), name.replace(/\W+/g, "-"), file);
    const before = JSON.stringify((await clone.inspect()).map(({ Id }) => Id));
    const up = await clone.make("up", { [key]: image });
    expect(up.code).not.toBe(0);
    expect(up.lastLine).toContain(why);
    expect(up.lastLine).toContain(`set ${key} to`);
    expect(JSON.stringify((await clone.inspect()).map(({ Id }) => Id))).toBe(before);
  });
});
