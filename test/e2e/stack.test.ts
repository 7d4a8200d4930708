/**
 * The whole stack, brought up by `make` in a copy of this repository: real Pulumi, Docker,
 * InfluxDB, Grafana and k6. The tests of a block share one stack and build on each other.
 */
import * as fs from "node:fs";
import { createServer as createHttpServer, type ServerResponse } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { root } from "../../root";
import { query, write } from "../../runner/influxdb";
import { freePort, portIsFree } from "../../runner/ports";
import { browser, withPage } from "../support/browser";
import { GrafanaApi, type Login, type Panel } from "../support/grafana";
import {
  Clone,
  freePorts,
  printed,
  revealed,
  run,
  stackImages,
  type Ended,
  type Resource,
  type Settings,
} from "../support/stack";
import { succeeds } from "../support/succeeds";

const titles = [
  "HTTP Request Duration (p99)",
  "HTTP Request Duration (p95)",
  "HTTP Request Duration (avg)",
  "RPS (Requests per Second)",
];

let images: Settings = {};
/** What this machine lacks to run the tests. */
let missing: string | undefined;
const clones: Clone[] = [];

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) missing = found.missing;
  else images = { ...found.images };
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
const removeAll = () => clones.splice(0).forEach((clone) => clone.remove());
afterAll(removeAll);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, removeAll);

describe("a stack", () => {
  let clone: Clone;
  /** What the tests that follow build on, as long as it is not there. */
  let awaited: string | undefined;
  let grafana: GrafanaApi;
  let influxdbUrl: string;
  /** The first run, as the stack's output has it. */
  let first: Record<string, any>;
  /** Passwords by the name of their resource, and the state's passphrase. */
  let secrets: Record<string, string>;

  const influxdb = (username: string) => ({
    url: influxdbUrl,
    username,
    password: secrets[`influxdb-${username}-password`],
  });

  beforeAll(async () => {
    if (missing) return;
    const ports = await freePorts();
    clone = new Clone({ ...images, ...ports }, { target: "sample", duration: "10s" });
    clones.push(clone);
  });
  beforeEach(({ skip }) => {
    if (awaited) skip(awaited);
  });

  describe("refuses before anything is created", () => {
    const refused = async (settings: Settings, why: RegExp) => {
      const up = await clone.make("up", settings);
      expect(up.code).not.toBe(0);
      expect(up.lastLine).toMatch(why);
      expect(await clone.inDocker()).toEqual([]);
      expect([clone.exists(".state"), clone.exists("runs")]).toEqual([false, false]);
    };

    it.each<[string, Settings, RegExp]>([
      ["a value that is not allowed", { rate: 0 }, /key "rate" is "0": must be .* 1 or more/],
      [
        "a key that there is not",
        { rates: 1 },
        /key "rates" is "1": there is no such key; the keys are /,
      ],
      ["a script that is not there", { script: "k6/no.ts" }, /key "script" is "k6\/no.ts": must/],
      ["a target without an address", { target: "external" }, /key "baseUrl" is "": must be a URL/],
    ])("%s", (_, settings, why) => refused(settings, why));

    it("a port that is in use", async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await expect.poll(() => server.listening).toBe(true);
      const { port } = server.address() as AddressInfo;
      await refused({ grafanaPort: port }, new RegExp(`port ${port} in use: .*grafanaPort=`));
      server.close();
    });
  });

  describe("comes up by `make up`", () => {
    it("with a passed verdict", async () => {
      awaited = "the first `make up` failed";
      const up = await clone.make("up");
      succeeds(up);
      expect(up.stdout).toMatch(new RegExp(`^run ${clone.runs()[0]}: passed$`, "m"));
      for (const figure of ["p99", "p95", "failed requests", "passed checks", "requests"]) {
        expect(up.stdout).toMatch(new RegExp(`^ +${figure} +[\\d.]+.* ok$`, "m"));
      }
      awaited = undefined;

      secrets = await clone.secrets();
      const outputs = await clone.outputs();
      ({ influxdbUrl, lastPassedRun: first } = outputs);
      const login = JSON.parse((await clone.make("password")).stdout) as Login;
      grafana = new GrafanaApi(outputs.grafanaUrl, login);
    });

    it("and git sees no change", async () => {
      expect(await clone.changes()).toBe("");
    });

    it("and the run is recorded", () => {
      const [id] = clone.runs();
      for (const file of ["summary.json", "summary.md", "report.html", "k6.log"]) {
        expect(clone.read("runs", id, file), file).not.toBe("");
      }
      expect(clone.latestRun()).toMatchObject({ id, verdict: "passed" });
      expect(clone.read("runs", id, "summary.md")).toContain(`Load test passed: \`${id}\``);
      expect(clone.read("runs", id, "report.html")).toContain("</html>");
    });

    it("and the outputs are those of the contract, secrets hidden", async () => {
      const outputs = await clone.outputs();
      expect(Object.keys(outputs).sort()).toEqual([
        "dashboardUrl",
        "grafanaAdmin",
        "grafanaUrl",
        "influxdbReader",
        "influxdbUrl",
        "lastPassedRun",
      ]);
      expect(Object.keys(outputs.lastPassedRun).sort()).toEqual([
        "avgMs",
        "dashboardUrl",
        "droppedIterations",
        "endedAt",
        "failedRate",
        "id",
        "p95Ms",
        "p99Ms",
        "requests",
        "rps",
        "startedAt",
        "verdict",
      ]);
      expect(clone.latestRun()).toMatchObject(first);
      expect(outputs.dashboardUrl).toBe(first.dashboardUrl);
      expect([outputs.grafanaAdmin, outputs.influxdbReader]).toEqual(["[secret]", "[secret]"]);

      const shown = await clone.outputs("--show-secrets");
      expect(shown.grafanaAdmin).toEqual({
        username: "admin",
        password: secrets["grafana-admin-password"],
      });
      expect(shown.influxdbReader).toEqual({
        username: "grafana",
        password: secrets["influxdb-grafana-password"],
      });
    });
  });

  describe("stays as it is", () => {
    it("when it is brought up again", async () => {
      const up = await clone.make("up");
      succeeds(up);
      expect(up.lastLine).toBe("no test was due: nothing that it depends on has changed");
      expect(up.stdout).toMatch(/^ *\d+ unchanged$/m);
      expect(clone.runs()).toEqual([first.id]);
    });

    it("in a preview", async () => {
      const preview = await clone.make("preview");
      succeeds(preview);
      expect(preview.stdout).toMatch(/^ *\d+ unchanged$/m);
      succeeds(await clone.compare("preview", "--expect-no-changes"));
    });

    it("against what is really there", async () => {
      succeeds(await clone.compare("refresh", "--preview-only", "--expect-no-changes"));
    });
  });

  describe("has a Grafana", () => {
    const toDigits = (value: number) => Number(value.toFixed(2));

    it("that lets nobody in without a login", async () => {
      const anonymous = new GrafanaApi(grafana.url);
      for (const page of ["/api/dashboards/uid/coupon-issue", "/api/datasources", "/api/search"]) {
        expect((await anonymous.ask(page)).status, page).toBe(401);
      }
    });

    it("whose data source answers", async () => {
      const health = await grafana.ask("/api/datasources/uid/k6-influxdb/health");
      expect(health.body).toMatchObject({ status: "OK" });
    });

    it("whose four panels agree with the run", async () => {
      const panels = await grafana.panels("coupon-issue");
      expect(panels.map(({ title }) => title)).toEqual(titles);
      const range = { from: Date.parse(first.startedAt), to: Date.parse(first.endedAt) };
      const draw = (refId: string, from: Panel[], intervalMs: number, routes?: string) =>
        Promise.all(from.map((panel) => grafana.draw(panel, refId, range, intervalMs, routes)));

      // The legend's whole, as the runner told it and of all points of the route; and all of it in one
      // interval, whose length is such that the run is not cut.
      const days = [1, 2, 3, 5].map((count) => count * 86_400_000);
      const uncut = days.find((ms) => Math.floor(range.from / ms) === Math.floor(range.to / ms))!;
      const durations = panels.slice(0, 3);
      for (const whole of [
        await draw("B", durations, 1000),
        await draw("C", durations, uncut, ".*POST.*"),
        await draw("D", durations, 1000, ".*POST.*"),
      ]) {
        const figures = [[first.p99Ms], [first.p95Ms], [first.avgMs]];
        expect(whole.map((values) => values.map(toDigits))).toEqual(figures);
      }

      // Second by second.
      const [p99, p95, avg, rps] = await draw("A", panels, 1000);
      for (const values of [p99, p95, avg]) expect(values.length).toBeGreaterThanOrEqual(10);
      expect(toDigits(Math.max(...p99))).toBeGreaterThanOrEqual(first.p99Ms);
      expect(rps.reduce((sum, perSecond) => sum + perSecond)).toBeCloseTo(first.requests, 6);
    });

    it("whose figures are k6's own", async () => {
      const own = JSON.parse(clone.read("runs", first.id, "k6-summary.json")).metrics;
      expect(first.requests).toBe(own.http_reqs.count);
      expect(Math.abs(first.avgMs - own.http_req_duration.avg)).toBeLessThanOrEqual(0.01);

      // InfluxDB takes a sample, k6 a point between two: they differ by less than one sample.
      const [[series]] = await query(
        influxdb("grafana"),
        `SELECT "value" FROM "http_req_duration" WHERE "testid" = '${first.id}'`,
        "k6",
      );
      const samples = series.values.map(([, value]) => value as number).sort((a, b) => a - b);
      expect(samples).toHaveLength(first.requests);
      for (const [p, shown] of [
        [95, first.p95Ms],
        [99, first.p99Ms],
      ]) {
        const rank = Math.floor((samples.length * p) / 100 + 0.5) - 1;
        expect(toDigits(samples[rank])).toBe(shown);
        const k6 = own.http_req_duration[`p(${p})`];
        expect(k6).toBeGreaterThanOrEqual(samples[rank - 1]);
        expect(k6).toBeLessThanOrEqual(samples[Math.min(rank + 1, samples.length - 1)]);
      }
    });

    it("whose dashboard shows the run in a browser", async ({ skip }) => {
      if (!browser) skip("there is no Chromium on PATH");
      await withPage(async (page) => {
        await page.goto(`${grafana.url}/login`);
        await page.fill("input[name=user]", "admin");
        await page.fill("input[name=password]", secrets["grafana-admin-password"]);
        await page.click("button[type=submit]");
        await page.waitForURL((url) => url.pathname === "/");
        await page.goto(first.dashboardUrl);
        for (const title of titles) await page.getByText(title, { exact: true }).waitFor();
        for (const name of ["p99", "p95", "avg", "RPS"]) {
          await page.getByText(`${name}, ${first.id}`, { exact: true }).first().waitFor();
        }
        await page.waitForLoadState("networkidle");
        fs.mkdirSync(path.join(root, "build/e2e"), { recursive: true });
        await page.screenshot({ path: path.join(root, "build/e2e/dashboard.png") });
        expect(await page.locator(".uplot canvas").count()).toBe(4);
        expect(await page.getByText("No data").count()).toBe(0);
        const complaints =
          ".panel-info-corner--error, [aria-label*=error i], [data-testid*=error i], [role=alert]";
        expect(await page.locator(complaints).allTextContents()).toEqual([]);
      });
    });
  });

  describe("is closed", () => {
    it("to queries without a login", async () => {
      const response = await fetch(`${influxdbUrl}/query?q=SHOW+DATABASES`);
      expect(response.status).toBe(401);
    });

    it("to k6 reading and to Grafana writing", async () => {
      const [k6, reader] = [influxdb("k6"), influxdb("grafana")];
      const ask = `SELECT * FROM "http_reqs"`;
      await expect(query(k6, ask, "k6")).rejects.toThrow(/not authorized/);
      await expect(write(reader, "k6", "gate value=1")).rejects.toThrow(/not authorized/);
      for (const statement of ["SHOW USERS", "CREATE DATABASE other", `DROP DATABASE "k6"`]) {
        await expect(query(reader, statement), statement).rejects.toThrow(
          /not authorized|requires/,
        );
        await expect(query(k6, statement), statement).rejects.toThrow(/not authorized|requires/);
      }
    });

    it("to other machines", async () => {
      const containers = await clone.inspect();
      expect(containers).toHaveLength(4);
      const published = containers.flatMap(({ NetworkSettings: { Ports } }) =>
        Object.values(Ports).flatMap((each) => each ?? []),
      );
      expect(published.map(({ HostIp }) => HostIp)).toEqual(Array(3).fill("127.0.0.1"));
    });

    it("with its secrets in no container's settings, command line, run or readable state", async () => {
      const { passphrase: _, ...passwords } = secrets;
      const shown = (await clone.pulumi("stack", "export", "--show-secrets")).stdout;
      expect(revealed(passwords, { it: shown })).toHaveLength(6);
      expect(revealed(secrets, await clone.openTexts())).toEqual([]);
    });

    it("while a test runs, too; `make load` runs it and changes nothing else", async () => {
      const before = await clone.resources();
      const has = (each: Resource) => JSON.stringify([each.id, each.inputs, each.outputs]);
      let ended: Ended | undefined;
      const load = clone.make("load").then((end) => (ended = end));
      let sawK6 = false;
      while (!ended) {
        const texts = await clone.openWhileItRuns();
        sawK6 ||= texts["the containers' settings"].includes(`"Name":"/${clone.stack}-`);
        expect(revealed(secrets, texts)).toEqual([]);
        await sleep(200);
      }
      succeeds(await load);
      expect(sawK6).toBe(true);
      expect(revealed(secrets, { runs: clone.readAll("runs") })).toEqual([]);

      expect(clone.runs()).toHaveLength(2);
      expect((await clone.outputs()).lastPassedRun.id).toBe(clone.runs()[1]);
      const known = new Map(before.map((each) => [each.urn, has(each)]));
      const changed = (await clone.resources()).filter((each) => known.get(each.urn) !== has(each));
      expect(changed.map(({ urn }) => urn.split("::").at(-1)).sort()).toEqual([
        `coupon-load-test-${clone.stack}`, // Its outputs name the new run.
        "load-test-run",
      ]);
    });
  });

  describe("comes back", () => {
    it("when its database was dropped", async () => {
      const admin = influxdb("admin");
      await query(admin, `DROP DATABASE "k6"`);
      const refresh = await clone.compare("refresh", "--yes");
      succeeds(refresh);
      expect(refresh.stdout).toMatch(/influxdb:Database\S* +influxdb-database +deleted/);

      succeeds(await clone.make("up"));
      const [[policies], [writer], [reader]] = await query(
        admin,
        `SHOW RETENTION POLICIES ON "k6"; SHOW GRANTS FOR "k6"; SHOW GRANTS FOR "grafana"`,
      );
      const kept = policies.values.map(([name, duration]) => `${name} for ${duration}`);
      expect(kept).toEqual(["autogen for 720h0m0s", "history for 17520h0m0s"]);
      expect([writer.values, reader.values]).toEqual([[["k6", "WRITE"]], [["k6", "READ"]]]);
      succeeds(await clone.compare("refresh", "--preview-only", "--expect-no-changes"));
    });
  });

  describe("says in the last line why a test failed", () => {
    const runsAgain = async (settings: Settings, why: RegExp) => {
      const passed = (await clone.outputs()).lastPassedRun;
      const runs = clone.runs().length;
      const present = await clone.inDocker();
      const load = await clone.make("load", settings);
      expect(load.code, load.output).not.toBe(0);
      expect(load.lastLine).toMatch(why);
      expect(clone.runs()).toHaveLength(runs + 1);
      expect(clone.latestRun()).toMatchObject({ verdict: "failed" });
      expect(clone.latestRun().reason).toMatch(why);
      expect((await clone.outputs()).lastPassedRun).toEqual(passed);
      expect(await clone.inDocker()).toEqual(present);
    };

    it("a limit, with the figure; the stack stays up", async () => {
      // A hundred users without a pause: nobody is answered within a millisecond.
      const flood = { rate: 100_000, timeUnit: "1s", duration: "3s", maxVUs: 100 };
      const limits = { p95LimitMs: 1, droppedIterationsLimit: 1_000_000 };
      await runsAgain({ ...flood, ...limits }, /p95 [\d.]+ ms is over the limit of 1 ms/);
      const running = (await clone.inspect()).filter(({ State }) => State.Running);
      expect(running).toHaveLength(4);
      expect((await grafana.ask("/api/health")).status).toBe(200);
    });

    it("and runs it again at the next `make up`", async () => {
      const up = await clone.make("up");
      succeeds(up);
      expect(clone.latestRun().verdict).toBe("passed");
      expect(up.lastLine).toBe(`report     runs/${clone.runs().at(-1)}/report.html`);
    });

    it("a target that does not answer", async () => {
      const baseUrl = `http://127.0.0.1:${await freePort()}`;
      await runsAgain({ target: "external", baseUrl }, new RegExp(`target did not .*${baseUrl}`));
    });

    it("a figure that got worse than its baseline; `make compare` shows both runs", async () => {
      // The ledger begins anew where the database was dropped.
      const passed = (await clone.outputs()).lastPassedRun.id;
      const answer = (_: unknown, response: ServerResponse) =>
        setTimeout(() => response.writeHead(200).end(), 300);
      const slow = createHttpServer(answer).listen(0, "127.0.0.1");
      slow.keepAliveTimeout = 60_000;
      await expect.poll(() => slow.listening).toBe(true);
      const baseUrl = `http://127.0.0.1:${(slow.address() as AddressInfo).port}`;
      const settings = { target: "external", baseUrl, maxRegression: "p95 10%" };
      const why = new RegExp(
        `p95 .* is more than 10 % worse than .* .run ${passed}.: the limit is`,
      );
      await runsAgain(settings, why);
      slow.close();

      const slower = clone.latestRun().id;
      const compared = await clone.makeOnly("compare", `A=${passed}`, `B=${slower}`);
      succeeds(compared);
      expect(compared.stdout).toMatch(/^ +p95 +[\d.]+ ms +[3-9]\d\d[\d.]* ms +\+[\d.]+ %$/m);
      expect(clone.read(`runs/compare-${passed}-${slower}.md`)).toContain("| p95 | ");
      const nobody = "nobody-20260102T030405Z";
      const unknown = await clone.makeOnly("compare", `A=${nobody}`, `B=${slower}`);
      expect(unknown.code).not.toBe(0);
      expect(unknown.lastLine).toContain(`there is no run "${nobody}" in the ledger; the newest`);

      // As the dashboard of runs asks for them, and as the other one marks them.
      const panels = await grafana.panels("coupon-issue-runs");
      const table = panels.find(({ title }) => title === "Runs")!;
      const { from, to } = { from: Date.parse(first.startedAt) - 1, to: Date.now() };
      const ids = await grafana.draw(table, "A", { from, to }, 1000);
      expect(ids).toEqual(expect.arrayContaining([passed, slower]));
    });

    it("a script that is broken", async () => {
      clone.write("build/broken/broken.js", "export default function () {\n  oops(;\n}\n");
      await runsAgain({ script: "build/broken/broken.js" }, /broken\.js: Line 2:\d+ Unexpected/);
    });
  });

  it("runs the guide's own script as it is", async ({ skip }) => {
    if (!(await portIsFree(8080))) skip("port 8080, which the guide's script names, is in use");
    succeeds(
      await clone.make("up", { script: "bench/guide/k6-coupon-issue.js", couponApiPort: 8080 }),
    );
    const { id, verdict, requests, rps } = clone.latestRun();
    expect(verdict).toBe("passed");
    expect(requests).toBeGreaterThanOrEqual(1000);
    expect(rps).toBeCloseTo(1000 / 60, 1);
    const own = JSON.parse(clone.read("runs", id, "k6-summary.json")).metrics;
    expect(own.http_reqs.count).toBe(requests);
  });

  it("finds the highest rate that holds by `make capacity`, which changes nothing", async () => {
    const before = await clone.resources();
    const steps = { capacityFrom: 20, capacityTo: 40, capacityGrowth: 50, capacityStep: "4s" };
    const capacity = await clone.make("capacity", { ...steps, capacityHold: "5s" });
    succeeds(capacity);
    expect(capacity.lastLine).toBe(
      "capacity: 30/s held; nothing broke up to the end of the search",
    );
    const found = clone.latestRun();
    expect(found).toMatchObject({ capacity: 30, verdict: "passed" });
    expect(Math.abs(found.requests - 150)).toBeLessThanOrEqual(2);
    // Docker has told what k6 and InfluxDB took.
    expect(found.generator.k6Cores).toBeGreaterThan(0);
    expect(found.generator.storeCores).toBeGreaterThan(0);
    expect(await clone.resources()).toEqual(before);
    const wrong = await clone.make("capacity", { capacityFrom: 50, capacityTo: 40 });
    expect(wrong.lastLine).toBe(
      'make capacity: configuration key "capacityTo" is "40": ' +
        "must be at least capacityFrom, which is 50",
    );
  });

  it("goes by `make destroy`, all but its runs", async () => {
    const runs = clone.runs();
    const containers = await clone.inspect();
    const volumes = containers.flatMap(({ Mounts }) => Mounts.flatMap(({ Name }) => Name ?? []));
    expect(volumes.length).toBeGreaterThan(0);
    succeeds(await clone.make("destroy"));
    expect(await clone.inDocker()).toEqual([]);
    const left = (await printed("docker", "volume", "ls", "--quiet")).split("\n");
    expect(left.filter((volume) => volumes.includes(volume))).toEqual([]);
    for (const image of Object.values(images)) {
      await printed("docker", "image", "inspect", String(image));
    }
    expect(clone.exists(".state")).toBe(false);
    expect(clone.runs()).toEqual(runs);
    expect(await clone.changes()).toBe("");
  });
});

describe("a fresh clone with an empty HOME", () => {
  it("needs only `make up`, and `make destroy` to be gone", async ({ skip }) => {
    const npm = await run("npm", [
      "view",
      "vitest",
      "version",
      "--fetch-retries=0",
      "--fetch-timeout=20000",
    ]);
    if (npm.code !== 0) skip("npm's registry cannot be reached");
    const settings = { ...images, ...(await freePorts()) };
    const clone = new Clone(settings, { target: "sample", duration: "5s" }, true);
    clones.push(clone);
    succeeds(await clone.make("up"));
    expect(clone.latestRun()).toMatchObject({ verdict: "passed" });
    expect(await clone.changes()).toBe("");
    succeeds(await clone.make("destroy"));
    expect(await clone.inDocker()).toEqual([]);
    expect(clone.exists(".state")).toBe(false);
  });
});
