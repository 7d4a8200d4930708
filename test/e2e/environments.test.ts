/** Stacks beside each other on one machine, what was changed by hand, and the guard rails. */
import * as fs from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { project } from "../../config";
import { query } from "../../runner/influxdb";
import { GrafanaApi } from "../support/grafana";
import { root } from "../../root";
import { Clone, printed, stackImages, type Settings } from "../support/stack";
import { succeeds } from "../support/succeeds";

let missing: string | undefined;
let clone: Clone;
/** Another stack of the same clone. */
let other: string;

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) {
    missing = found.missing;
    return;
  }
  // The committed environment, under names that nobody else has.
  const text = fs.readFileSync(path.join(root, "Pulumi.ci.yaml"), "utf8");
  const { config } = parse(text) as { config: Settings };
  const own = Object.entries(config).map(([key, value]) => [key.split(":")[1], value]);
  clone = new Clone({ ...found.images }, Object.fromEntries(own));
  other = `${clone.stack}b`;
  fs.copyFileSync(clone.path(`Pulumi.${clone.stack}.yaml`), clone.path(`Pulumi.${other}.yaml`));
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
afterAll(() => clone?.remove());

const container = (service: string) => `${project}-${clone.stack}-${service}`;
const started = (stack: string) =>
  printed(
    ...["docker", "ps", "--filter", `name=${project}-${stack}-`],
    ...["--format", "{{.Names}} {{.ID}}"],
  );

describe("two stacks of one machine", () => {
  let others: string;

  it("come up beside each other, each on ports of its own", async () => {
    succeeds(await clone.make("up"));
    const first = await clone.outputs();
    const before = await started(`${clone.stack}`);
    succeeds(await clone.make("up", { STACK: other }));
    others = await started(other);
    expect(others.split("\n")).toHaveLength(4);
    expect(await started(clone.stack)).toContain(before.split("\n")[0]);
    expect(clone.runs()).toHaveLength(2);
    // Chosen ports stay.
    const again = await clone.make("up");
    succeeds(again);
    expect(again.lastLine).toMatch(/^no test was due/);
    expect(await clone.outputs()).toEqual(first);
  });

  it("say in a preview what changes, and whether the load test will run", async () => {
    const preview = async (settings: Settings = {}) => {
      succeeds(await clone.make("preview", settings));
      return clone.read("preview.md");
    };
    /** With a file's text changed, and as it was afterwards. */
    const changed = async (file: string, from: string, to: string) => {
      const text = clone.read(file);
      expect(text).toContain(from);
      clone.write(file, text.replace(from, to));
      return preview().finally(() => clone.write(file, text));
    };
    const [runs, stays] = ["**The load test will run**", "**The load test will not run**"];

    const query = await changed(
      "dashboards/queries.ts",
      `select(\`mean("value")`,
      `select(\`median("value")`,
    );
    expect(query).toContain(stays);
    expect(query).toMatch(
      /^\| update \| `dashboards-coupon-issue` \| `configJson\.panels\[2\]\.targets\[2\]\.query`/m,
    );
    expect(query).toContain('median(\\"value\\")');

    const rate = await preview({ rate: 40 });
    expect(rate).toContain(`${runs}: profile changed.`);
    expect(rate).toContain("| `profile.rate` | `20` | `40` |");

    const image = await preview({ k6Image: "k6.example/k6:2" });
    expect(image).toContain(`${runs}: executor changed.`);
    expect(image).toMatch(/^\| `executor\.image` \| `\S+` \| `k6\.example\/k6:2` \|$/m);

    for (const file of ["k6/coupon-issue.ts", "dashboards/queries.ts", "index.ts"]) {
      const comment = await changed(file, "/**", "// A comment only.\n/**");
      expect(comment).toContain(stays);
      expect(comment).toMatch(/^0 to change, \d+ unchanged$/m);
    }
  });

  it("know what was changed by hand, and put it back", async () => {
    const quiet = await clone.make("drift");
    succeeds(quiet);
    expect(quiet.lastLine).toBe("nothing was changed by hand");

    const { grafanaUrl, influxdbUrl } = await clone.outputs();
    const { grafanaAdmin } = await clone.outputs("--show-secrets");
    const grafana = new GrafanaApi(grafanaUrl, grafanaAdmin);
    const admin = (await clone.resources()).find(({ urn }) => urn.endsWith("::influxdb-admin"))!;
    const { plaintext } = admin.outputs!.adminPassword as { plaintext: string };
    const asAdmin = { url: influxdbUrl, username: "admin", password: JSON.parse(plaintext) };

    /** Changes something; `make drift` names it, `make up` puts it back without a new test. */
    const putBack = async (change: () => Promise<unknown>, ...named: string[]) => {
      const runs = clone.runs();
      await change();
      const drift = await clone.make("drift");
      expect(drift.code, drift.output).not.toBe(0);
      expect(drift.lastLine).toMatch(/^make drift: changed by hand: .*; make up puts it back$/);
      for (const each of named) expect(drift.lastLine).toContain(each);
      succeeds(await clone.make("up"));
      const after = await clone.make("drift");
      expect(after.lastLine, after.output).toBe("nothing was changed by hand");
      expect(clone.runs()).toEqual(runs);
    };

    await putBack(
      async () => {
        await printed("docker", "stop", container("coupon-api"));
        const source = (await grafana.ask("/api/datasources/uid/k6-influxdb")).body;
        await grafana.put("/api/datasources/uid/k6-influxdb", { ...source, url: "http://other:1" });
        const { dashboard, meta } = (await grafana.ask("/api/dashboards/uid/coupon-issue")).body;
        dashboard.panels[0].title = "mine";
        const changed = { dashboard, folderUid: meta.folderUid, overwrite: true };
        await grafana.ask("/api/dashboards/db", changed);
        await query(asAdmin, `GRANT ALL ON "k6" TO "grafana"`);
      },
      ...["coupon-api-container (stopped)", "dashboards-influxdb (changed: url)"],
      ...["dashboards-coupon-issue (changed: configJson)", "influxdb-grafana (changed: privilege)"],
    );
    const panels = await grafana.panels("coupon-issue");
    expect(panels[0].title).toBe("HTTP Request Duration (p99)");
    const [[grants]] = await query(asAdmin, `SHOW GRANTS FOR "grafana"`);
    expect(grants.values).toEqual([["k6", "READ"]]);

    await putBack(
      () => query(asAdmin, `DROP DATABASE "k6"`),
      ...["influxdb-database (gone)", "influxdb-history (gone)"],
    );
    await putBack(
      () => printed("docker", "stop", container("influxdb")),
      "influxdb-container (stopped)",
    );
    await putBack(
      () => printed("docker", "rm", "--force", container("grafana")),
      "grafana-container (gone)",
    );
  });

  it("do not touch each other, and go one by one", async () => {
    expect(await started(other)).toBe(others);
    succeeds(await clone.make("destroy", { STACK: other }));
    expect(await started(other)).toBe("");
    expect((await started(clone.stack)).split("\n")).toHaveLength(4);
  });
});

describe("guard rails", () => {
  it("refuse a target that nobody allowed, also behind a redirect", async () => {
    const outside = { target: "external", baseUrl: "https://shop.example" };
    const refused = await clone.make("load", outside);
    expect(refused.lastLine).toContain(
      `configuration key "baseUrl" is "https://shop.example": must be on this machine`,
    );
    const server = createServer((_, response) =>
      response.writeHead(307, { location: "https://shop.example/" }).end(),
    ).listen(0, "127.0.0.1");
    await expect.poll(() => server.listening).toBe(true);
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const led = await clone.make("load", { target: "external", baseUrl });
    server.close();
    expect(led.lastLine).toBe(
      `make load: the target ${baseUrl} redirects to https://shop.example/, ` +
        `a host that allowedHosts does not name`,
    );
    expect(clone.latestRun()).not.toHaveProperty("requests");
  });

  it("keep data until they are told otherwise", async () => {
    succeeds(await clone.make("up", { keepData: "true" }));
    const present = await clone.inDocker();
    const refused = await clone.make("destroy");
    expect(refused.lastLine).toBe(
      `make destroy: stack ${clone.stack} keeps its data (grafana-data, influxdb-data); ` +
        `to remove it, too, first run make up STACK=${clone.stack} keepData=false`,
    );
    expect(await clone.inDocker()).toEqual(present);
    succeeds(await clone.make("up", { keepData: "false" }));
    succeeds(await clone.make("destroy"));
    expect(await clone.inDocker()).toEqual([]);
  });
});
