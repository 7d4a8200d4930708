/**
 * What must not be lost: a stack whose passwords change, which is saved, destroyed and restored, and
 * whose servers are replaced by others. The tests share one stack and build on each other.
 */
import * as fs from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { project } from "../../config";
import { query } from "../../runner/influxdb";
import { GrafanaApi } from "../support/grafana";
import { otherImage } from "../support/images";
import { Clone, freePorts, printed, stackImages, type Settings } from "../support/stack";
import { succeeds } from "../support/succeeds";

let missing: string | undefined;
let images: Settings;
let clone: Clone;
/** The generated passwords, by the name of their resource. */
let secrets: Record<string, string>;
let grafanaUrl: string;
let influxdbUrl: string;
/** The first run's `summary.json`. */
let first: Record<string, any>;
/** Of the first run: points by measurement, and its line in the ledger. */
let stored: { points: Record<string, number>; ledger: Record<string, unknown>[] };
let archive: string;

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) {
    missing = found.missing;
    return;
  }
  images = { ...found.images };
  clone = new Clone({ ...images, ...(await freePorts()) }, { target: "sample", duration: "5s" });
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
afterAll(() => clone?.remove());

async function lookUp() {
  secrets = {};
  for (const { urn, type, outputs } of await clone.resources()) {
    if (type !== "random:index/randomPassword:RandomPassword") continue;
    const { plaintext } = outputs?.result as { plaintext: string };
    secrets[urn.split("::").at(-1)!] = JSON.parse(plaintext);
  }
  ({ grafanaUrl, influxdbUrl } = await clone.outputs());
}

const influxdb = (username: string, from = secrets) => ({
  url: influxdbUrl,
  username,
  password: from[`influxdb-${username}-password`],
});
const grafana = (from = secrets) =>
  new GrafanaApi(grafanaUrl, { username: "admin", password: from["grafana-admin-password"] });
const container = (service: string) => `${project}-${clone.stack}-${service}`;

/** How much InfluxDB and Grafana let in who comes with these passwords. */
async function letIn(passwords: Record<string, string>): Promise<number[]> {
  const influxdbs = ["admin", "k6", "grafana"].map(async (username) => {
    const login = influxdb(username, passwords);
    const authorization = `Basic ${btoa(`${login.username}:${login.password}`)}`;
    const url = `${influxdbUrl}/query?q=SHOW+DATABASES`;
    return (await fetch(url, { headers: { authorization } })).status;
  });
  return Promise.all([
    ...influxdbs,
    grafana(passwords)
      .ask("/api/org")
      .then(({ status }) => status),
  ]);
}

async function storedOf(id: string): Promise<typeof stored> {
  const [points, [ledger]] = await query(
    influxdb("admin"),
    `SELECT count("value") FROM "autogen"./.*/ WHERE "testid" = '${id}'; ` +
      `SELECT * FROM "history"."k6_runs" WHERE "testid" = '${id}'`,
    "k6",
  );
  return {
    points: Object.fromEntries(points.map(({ name, values }) => [name, Number(values[0][1])])),
    // Columns that only other runs have are empty.
    ledger: (ledger?.values ?? []).map((row) =>
      Object.fromEntries(
        row.flatMap((value, index) => (value === null ? [] : [[ledger.columns[index], value]])),
      ),
    ),
  };
}

/** The figures of the first run, as the panels' own queries give them through Grafana. */
async function drawn(): Promise<number[]> {
  const panels = await grafana().panels("coupon-issue");
  const range = { from: Date.parse(first.startedAt), to: Date.parse(first.endedAt) };
  const figures = panels.slice(0, 3).map((panel) => grafana().draw(panel, "B", range, 1000));
  return (await Promise.all(figures)).map(([value]) => Number(value.toFixed(2)));
}
const figures = () => [first.p99Ms, first.p95Ms, first.avgMs];

/** The first run is there, to the last point, and can be seen. */
async function isAllThere() {
  expect(await storedOf(first.id)).toEqual(stored);
  expect(await drawn()).toEqual(figures());
}

/** What somebody made in Grafana by hand. */
async function byHand() {
  const { body: dashboard } = await grafana().ask("/api/dashboards/uid/by-hand");
  const { body: annotations } = await grafana().ask("/api/annotations?tags=by-hand");
  const { body: preferences } = await grafana().ask("/api/org/preferences");
  return {
    title: dashboard.dashboard?.title,
    folder: dashboard.meta?.folderTitle,
    notes: annotations.map(({ text, dashboardUID }: any) => `${dashboardUID}: ${text}`),
    theme: preferences.theme,
  };
}
const madeByHand = {
  ...{ title: "Mine", folder: "My folder", notes: ["coupon-issue: a note"], theme: "light" },
};

it("comes up, and somebody makes something in its Grafana", async () => {
  succeeds(await clone.make("up"));
  first = clone.latestRun();
  await lookUp();
  stored = await storedOf(first.id);
  expect(stored.points.http_reqs).toBe(first.requests);
  expect(stored.ledger).toHaveLength(1);

  await grafana().ask("/api/folders", { uid: "my-folder", title: "My folder" });
  const dashboard = { uid: "by-hand", title: "Mine", panels: [] };
  await grafana().ask("/api/dashboards/db", { dashboard, folderUid: "my-folder" });
  const note = { text: "a note", tags: ["by-hand"], time: Date.parse(first.startedAt) };
  await grafana().ask("/api/annotations", { ...note, dashboardUID: "coupon-issue", panelId: 1 });
  await grafana().put("/api/org/preferences", { theme: "light" });
  expect(await byHand()).toEqual(madeByHand);
  await isAllThere();
});

describe("`make rotate`", () => {
  it("changes every password that is logged in with, and nothing else", async () => {
    const before = secrets;
    const runs = clone.runs();
    const there = await clone.inspect();
    // Not even a test that would be due.
    succeeds(await clone.make("rotate", { duration: "6s" }));
    await lookUp();
    const same = Object.keys(before).filter((name) => before[name] === secrets[name]);
    expect(same.sort()).toEqual(["grafana-first-password", "grafana-secret-key"]);
    expect(await letIn(before)).toEqual([401, 401, 401, 401]);
    expect(await letIn(secrets)).toEqual([200, 200, 200, 200]);
    expect((await clone.inspect()).map(({ Id }) => Id)).toEqual(there.map(({ Id }) => Id));
    expect(clone.runs()).toEqual(runs);
    expect(JSON.parse((await clone.make("password")).stdout).password).toBe(
      secrets["grafana-admin-password"],
    );
    // Grafana goes on with a data source that it has read for five seconds (its `CacheServiceImpl`),
    // and its alert rules read this one at any time.
    await vi.waitFor(isAllThere, { timeout: 10_000, interval: 500 });
    expect(await byHand()).toEqual(madeByHand);
  });

  it("that is killed half-way is finished by `make up`, without a test", async () => {
    const before = secrets;
    const runs = clone.runs();
    const rotating = clone.make("rotate");
    const letsIn = () =>
      query(influxdb("admin", before), "SHOW DATABASES").then(
        () => true,
        () => false,
      );
    await expect.poll(letsIn, { timeout: 300_000 }).toBe(false);
    clone.kill();
    expect((await rotating).code).not.toBe(0);

    const drift = await clone.make("drift");
    expect(drift.lastLine).toBe(
      "make drift: not every part has its new password yet; " +
        `make up STACK=${clone.stack} finishes that`,
    );
    const up = await clone.make("up");
    succeeds(up);
    expect(up.lastLine).toMatch(/^no test was due/);
    expect(clone.runs()).toEqual(runs);
    await lookUp();
    expect(secrets["influxdb-admin-password"]).not.toBe(before["influxdb-admin-password"]);
    expect(await letIn(secrets)).toEqual([200, 200, 200, 200]);
    await vi.waitFor(isAllThere, { timeout: 10_000, interval: 500 });
  });

  it("leaves a stack whose test runs, and to which nothing is to be done", async () => {
    succeeds(await clone.make("load"));
    expect(clone.latestRun()).toMatchObject({ verdict: "passed", baseline: { id: first.id } });
    const up = await clone.make("up");
    succeeds(up);
    expect(up.stdout).toMatch(/^ *\d+ unchanged$/m);
    const drift = await clone.make("drift");
    expect(drift.lastLine, drift.output).toBe("nothing was changed by hand");
  });
});

describe("`make backup` and `make restore`", () => {
  /** Fails with this as its last line, and leaves points and Grafana as they were. */
  const refuses = async (command: string, args: string[], why: string | RegExp) => {
    const refused = await clone.makeOnly(command, ...args);
    expect(refused.code).not.toBe(0);
    expect(refused.lastLine).toMatch(why);
  };

  it("save a stack that is up, with no password", async () => {
    await refuses("backup", ["rate=3"], /^make backup: make backup takes no settings but STACK$/);
    const saved = await clone.makeOnly("backup");
    succeeds(saved);
    [, archive] = /^backup +(backups\/\S+)$/m.exec(saved.stdout)!;
    expect(archive).toMatch(new RegExp(`^backups/${clone.stack}-\\d{8}T\\d{6}Z\\.tar\\.gz$`));
    expect(fs.statSync(clone.path(archive)).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(clone.path("backups"))).toHaveLength(1);
    expect(await clone.changes()).toBe("");
    const content = gunzipSync(fs.readFileSync(clone.path(archive))).toString("latin1");
    expect(content).toContain("My folder");
    const revealed = Object.keys(secrets).filter((name) => content.includes(secrets[name]));
    expect(revealed).toEqual([]);
  });

  it("refuse a stack that is not up", async () => {
    succeeds(await clone.make("destroy"));
    expect(await clone.inDocker()).toEqual([]);
    const notUp = new RegExp(`stack ${clone.stack} is not up: run make up first$`);
    await refuses("backup", [], notUp);
    await refuses("restore", [`FROM=${archive}`], notUp);
  });

  it("refuse what is no whole archive, and change nothing", async () => {
    const before = secrets;
    succeeds(await clone.make("up"));
    await lookUp();
    expect(secrets["influxdb-admin-password"]).not.toBe(before["influxdb-admin-password"]);
    expect(clone.latestRun().id).not.toBe(first.id);

    const which =
      /^make restore: say which archive: make restore FROM=<archive>, and nothing else$/;
    await refuses("restore", [], which);
    await refuses("restore", [`FROM=${archive}`, "rate=3"], which);
    await refuses("restore", ["FROM=no.tar.gz"], /^make restore: there is no archive no\.tar\.gz$/);
    clone.write("other.tar.gz", "something else");
    await refuses(
      "restore",
      ["FROM=other.tar.gz"],
      /other\.tar\.gz is no archive that make backup/,
    );
    const whole = fs.readFileSync(clone.path(archive));
    fs.writeFileSync(clone.path("torn.tar.gz"), whole.subarray(0, whole.length - 1000));
    await refuses(
      "restore",
      ["FROM=torn.tar.gz"],
      /torn\.tar\.gz is torn or was altered: .*; noth/,
    );
    const other = gunzipSync(whole).toString("latin1").replace('"My folder"', '"My Folder"');
    fs.writeFileSync(clone.path("altered.tar.gz"), gzipSync(Buffer.from(other, "latin1")));
    await refuses(
      "restore",
      ["FROM=altered.tar.gz"],
      /altered\.tar\.gz is torn or was altered: grafana\.json has another checksum; nothing was changed$/,
    );
    expect(await storedOf(first.id)).toEqual({ points: {}, ledger: [] });
    expect(await byHand()).toMatchObject({ title: undefined, notes: [] });
  });

  it("bring everything back beside what is there, twice if need be", async () => {
    const newer = clone.latestRun();
    const before = await storedOf(newer.id);
    for (let time = 0; time < 2; time++) {
      succeeds(await clone.makeOnly("restore", `FROM=${archive}`));
      await isAllThere();
      expect(await byHand()).toEqual(madeByHand);
      expect(await storedOf(newer.id)).toEqual(before);
    }
    const [[databases]] = await query(influxdb("admin"), "SHOW DATABASES");
    expect(databases.values.flat().filter((name) => name !== "_internal")).toEqual(["k6"]);
    const left = await printed("docker", "exec", container("influxdb"), "ls", "/tmp");
    expect(left).not.toContain("coupon-load-test");
    expect(fs.readdirSync(clone.path("backups"))).toHaveLength(1);
  });

  it("leave the stack as Pulumi knows it, and the ledger whole", async () => {
    const up = await clone.make("up");
    succeeds(up);
    expect(up.lastLine).toMatch(/^no test was due/);
    expect(up.stdout).toMatch(/^ *\d+ unchanged$/m);
    const drift = await clone.make("drift");
    expect(drift.lastLine, drift.output).toBe("nothing was changed by hand");
    succeeds(await clone.makeOnly("compare", `A=${first.id}`, `B=${clone.latestRun().id}`));
  });
});

describe("other images of the servers", () => {
  it("take over the volumes, also where they have users of their own", async () => {
    const runs = clone.runs();
    const before = await clone.inspect();
    const tag = clone.stack;
    const others = {
      // As the official images have it from 1.11 on.
      influxdbImage: await otherImage(String(images.influxdbImage), `${tag}i`, "USER 1500"),
      grafanaImage: await otherImage(String(images.grafanaImage), `${tag}g`, "LABEL other=1"),
    };
    try {
      const up = await clone.make("up", others);
      succeeds(up);
      expect(up.lastLine).toMatch(/^no test was due/);
      expect(clone.runs()).toEqual(runs);
      const replaced = (await clone.inspect()).filter(({ Id }) => !before.some((b) => b.Id === Id));
      expect(replaced.map(({ Name }) => Name.slice(1)).sort()).toEqual([
        ...[container("grafana"), container("influxdb")],
      ]);
      expect(await letIn(secrets)).toEqual([200, 200, 200, 200]);
      await isAllThere();
      expect(await byHand()).toEqual(madeByHand);
      succeeds(await clone.make("load", others));
      succeeds(await clone.makeOnly("backup"));
      const drift = await clone.make("drift", others);
      expect(drift.lastLine, drift.output).toBe("nothing was changed by hand");
    } finally {
      clone.remove();
      await printed("docker", "image", "rm", ...Object.values(others));
    }
  });
});
