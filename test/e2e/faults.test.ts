/**
 * Faults of a stack that `make` has brought up: its containers, Docker, the terminal, another make,
 * a port. Each has an outcome that the last line tells, and nothing is lost that InfluxDB had taken.
 */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { query } from "../../runner/influxdb";
import { DockerDaemon } from "../support/docker-daemon";
import { FaultTable, type Outcome } from "../support/reliability";
import {
  Clone,
  freePorts,
  printed,
  revealed,
  run,
  stackImages,
  type Ended,
  type Settings,
} from "../support/stack";
import { succeeds } from "../support/succeeds";

const faults = new FaultTable("e2e-faults");

let images: Settings = {};
/** What this machine lacks to run the tests. */
let missing: string | undefined;
const removed: { remove(): void }[] = [];

beforeAll(async () => {
  const found = await stackImages();
  if ("missing" in found) missing = found.missing;
  else images = { ...found.images };
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
const removeAll = () => removed.splice(0).forEach((each) => each.remove());
afterAll(() => {
  removeAll();
  if (!missing) faults.write();
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, removeAll);

/** Waits until something is so, asking a few times a second. */
const until = (is: () => Promise<unknown> | unknown, seconds = 60) =>
  expect.poll(is, { timeout: seconds * 1000, interval: 200 }).toBeTruthy();

/** Kills the process of a container, if it runs; Docker restarts it. */
async function kill(name: string) {
  const pid = Number(await printed("docker", "inspect", "--format", "{{.State.Pid}}", name));
  if (pid > 0) process.kill(pid, "SIGKILL");
}

describe("a stack", () => {
  let clone: Clone;
  let ports: Awaited<ReturnType<typeof freePorts>>;
  /** By what they are for, once the stack is up. */
  let secrets: Record<string, string> | undefined;
  /** A hundred requests a second: more than a second is a part of them. */
  const load = { rate: 6000, duration: "8s", couponStock: 1_000_000 };
  const container = (service: string) => `coupon-load-test-${clone.stack}-${service}`;
  const k6s = () =>
    printed("docker", "ps", "--all", "--quiet", "--filter", `name=^/${clone.stack}-`);
  const add = (outcome: Outcome) => faults.add(outcome, hidden());
  const hidden = () => ({
    stack: clone.stack,
    "InfluxDB's port": `${ports.influxdbPort}`,
    "Grafana's port": `${ports.grafanaPort}`,
  });

  /** The administrator's count of requests that are stored, up to a time in ms. */
  async function stored(upTo?: number): Promise<{ requests: number; newest: number }> {
    secrets ??= await clone.secrets();
    const password = secrets["influxdb-admin-password"];
    const url = `http://127.0.0.1:${ports.influxdbPort}`;
    // Points have nanoseconds, of which a time in ms leaves the rest out.
    const where = upTo ? `WHERE time < ${upTo + 1}ms` : "";
    const [[count], [last]] = await query(
      { url, username: "admin", password },
      `SELECT count("value") FROM "http_reqs" ${where}; SELECT last("value") FROM "http_reqs"`,
      "k6",
    );
    const newest = Number(last?.values[0][0] ?? 0);
    return { requests: Number(count?.values[0][1] ?? 0), newest };
  }

  /** Starts `make load`, and does something once points of its own are stored. */
  async function during(act: () => Promise<void> | void, settings: Settings = {}): Promise<Ended> {
    const { newest } = await stored();
    const { ended } = clone.start("load", { ...load, ...settings });
    await until(async () => (await stored()).newest > newest + 1000);
    await act();
    return ended;
  }

  /** The next `make up` repairs and tests what it must. */
  async function comesUp() {
    const up = await clone.make("up", load);
    succeeds(up);
    expect(clone.latestRun().verdict).toBe("passed");
    expect(await k6s()).toBe("");
  }

  beforeAll(async () => {
    if (missing) return;
    ports = await freePorts();
    clone = new Clone({ ...images, ...ports }, { target: "sample" });
    removed.push(clone);
  });

  it("is refused when a port was taken after its preview, and nothing is made", async () => {
    succeeds(await clone.make("preview"));
    const server = createServer().listen(ports.grafanaPort, "127.0.0.1");
    await until(() => server.listening);
    const up = await clone.make("up");
    server.close();
    expect(up.code).not.toBe(0);
    expect(up.lastLine).toMatch(/port \d+ in use: .* make up grafanaPort=<port>/);
    expect(await clone.inDocker()).toEqual([]);
    const expected = "refused with port and key; nothing is made";
    add({ fault: "Port taken between preview and up", expected, seen: up.lastLine });
  });

  it("can be interrupted while it is provisioned", async () => {
    const up = clone.start("up", load);
    await until(async () =>
      (await clone.inDocker()).includes(`container ${container("influxdb")}`),
    );
    up.interrupt();
    const { code, lastLine, output } = await up.ended;
    expect(code).not.toBe(0);
    expect(lastLine, output).toBe(
      "make up: interrupted; what was made stays, make up goes on from it",
    );
    expect(await k6s()).toBe("");
    const expected = "one line; the stack is not locked, the next `make up` passes";
    add({ fault: "^C while `make up` provisions", expected, seen: lastLine });
  });

  it("is worked on by one `make up` at a time", async () => {
    const first = clone.start("up", load);
    const locks = `.state/.pulumi/locks/organization/coupon-load-test/${clone.stack}`;
    await until(() => clone.exists(locks) && fs.readdirSync(clone.path(locks)).length > 0);
    const second = await clone.make("up", load);
    expect(second.code).not.toBe(0);
    expect(second.lastLine).toBe(
      `make up: another make or pulumi works on stack ${clone.stack}: wait until it has ended`,
    );
    succeeds(await first.ended);
    expect(clone.latestRun().verdict).toBe("passed");
    const expected = "the second is refused with this line; the first passes";
    add({ fault: "`make up` twice at once", expected, seen: second.lastLine });
  });

  it("whose InfluxDB is killed fails, and has what it had taken", async () => {
    let newest = 0;
    let before = 0;
    const killed = await during(async () => {
      ({ newest } = await stored());
      before = (await stored(newest)).requests;
      // Killed once, it may be back before k6 writes again.
      const log = () => clone.read("runs", clone.runs().at(-1)!, "k6.log");
      while (!log().includes("Couldn't write stats")) {
        await kill(container("influxdb"));
        await sleep(100);
      }
    });
    expect(killed.code).not.toBe(0);
    expect(killed.lastLine).toMatch(
      /points are missing from InfluxDB: k6 made \d+ requests, \d+ are stored, \d+ are missing; .*a write failed: /,
    );
    await until(() => stored().catch(() => undefined));
    const lost = Math.max(before - (await stored(newest)).requests, 0);
    expect(lost).toBe(0);
    const expected = "the run fails with how many points are missing; InfluxDB is back";
    add({
      fault: "InfluxDB killed during a run",
      expected,
      seen: killed.lastLine,
      lost,
    });
  });

  it("whose Grafana is killed is judged all the same", async () => {
    const { lastLine, code, output } = await during(() => kill(container("grafana")));
    expect(code, output).toBe(0);
    expect(clone.latestRun()).toMatchObject({ verdict: "passed", warnings: [] });
    await until(async () => (await fetch(`http://127.0.0.1:${ports.grafanaPort}/api/health`)).ok);
    const [, seen] = /^(run .*: passed)$/m.exec(output) ?? ["", lastLine];
    add({ fault: "Grafana killed during a run", expected: "the verdict stands", seen, lost: 0 });
  });

  it("can be interrupted while the test runs", async () => {
    const load = clone.start("load", { rate: 6000, duration: "5m" });
    const { newest } = await stored();
    await until(async () => (await stored()).newest > newest);
    load.interrupt();
    const { code, lastLine } = await load.ended;
    expect(code).not.toBe(0);
    expect(lastLine).toBe("make load: the run was interrupted");
    expect(await k6s()).toBe("");
    expect(await printed("ps", "axww")).not.toContain(`testid=${clone.stack}-`);
    await comesUp();
    const expected = "k6 is stopped; the next `make up` passes";
    add({ fault: "^C while the test runs", expected, seen: lastLine });
  });

  it("whose k6 is killed fails with its exit code", async () => {
    const { code, lastLine } = await during(async () => {
      await printed("docker", "kill", await k6s());
    });
    expect(code).not.toBe(0);
    expect(lastLine).toMatch(/k6 ended with exit code 137: see runs\/\S+\/k6.log$/);
    expect(await k6s()).toBe("");
    const expected = "the run fails with exit code 137";
    add({ fault: "k6's container killed", expected, seen: lastLine });
  });

  it("whose InfluxDB hangs keeps the gate shut", async () => {
    await printed("docker", "pause", container("influxdb"));
    const since = Date.now();
    const { code, lastLine } = await clone.make("load", load);
    const seconds = (Date.now() - since) / 1000;
    await printed("docker", "unpause", container("influxdb"));
    expect(code).not.toBe(0);
    expect(lastLine).toMatch(/k6's user cannot write to InfluxDB: InfluxDB does not answer at /);
    expect(seconds).toBeLessThan(90);
    const expected = "no load is made; the line says that InfluxDB does not answer";
    add({ fault: "InfluxDB paused before a run", expected, seen: lastLine });
  });

  it("whose runner was killed has no k6 of it at the next run", async () => {
    const ended = during(async () => {
      const processes = await printed("ps", "axeww", "-o", "pid=,args=");
      const own = processes.split("\n").filter((line) => line.includes(clone.path("")));
      const workers = own.filter((line) =>
        / runner\/main\.ts work|runner\/main\.ts work/.test(line),
      );
      expect(workers).not.toEqual([]);
      for (const line of workers) process.kill(parseInt(line, 10), "SIGKILL");
    });
    const { code, lastLine } = await ended;
    expect(code).not.toBe(0);
    expect(lastLine).toBe("make load: the run was killed before it had a verdict");
    expect(await k6s()).not.toBe("");
    await comesUp();
    const expected = "the next run removes k6's container, and with it the writer's password";
    add({ fault: "Runner killed, k6 in Docker", expected, seen: lastLine });
  });

  it("shows its secrets nowhere after runs that passed, failed and were interrupted", async () => {
    const token = `token-${crypto.randomUUID()}`;
    const secrets = { ...(await clone.secrets()), "the script's secret": token };
    const name = "scriptSecrets.TOKEN";
    succeeds(await clone.pulumi("config", "set", "--secret", "--path", name, token));
    clone.write(
      "k6/secret.ts",
      `import secrets from "k6/secrets";
       import issue, { options as all } from "./coupon-issue.ts";
       export const options = all;
       export default async function () {
         if (__ITER === 0) console.log(__ENV.TENANT + ": " + (await secrets.get("TOKEN")));
         issue();
       }`,
    );
    const runs = ["passed", "failed"].map((verdict) =>
      clone.runs().some((id) => clone.read("runs", id, "summary.json").includes(`"${verdict}"`)),
    );
    expect(runs).toEqual([true, true]);
    expect(clone.readAll("runs")).toContain("the run was interrupted");
    expect(revealed(secrets, await clone.openTexts())).toEqual([]);

    let over = false;
    const settings = { ...load, script: "k6/secret.ts", scriptEnv: '{"TENANT":"acme"}' };
    const ended = clone.make("load", settings).finally(() => (over = true));
    while (!over) {
      expect(revealed(secrets, await clone.openWhileItRuns())).toEqual([]);
      await sleep(200);
    }
    succeeds(await ended);
    expect(clone.read("runs/latest/k6.log")).toContain("acme: ***SECRET_REDACTED***");
    const seen = `none of ${Object.keys(secrets).length} secrets found`;
    expect(revealed(secrets, await clone.openTexts())).toEqual([]);
    const expected =
      "no password in containers' settings and logs, processes, runs, what make prints, outputs, exported state";
    add({ fault: "Runs that passed, failed and were interrupted", expected, seen });
  });

  it("gives its containers, and k6's, no right that they do not need", async () => {
    const status = (pid: number) => fs.readFileSync(`/proc/${pid}/status`, "utf8");
    const held = (text: string, field: string) =>
      new RegExp(`^${field}:\\s*(\\S+)$`, "m").exec(text)?.[1];
    const rights: Record<string, unknown> = {};
    const limits: Record<string, boolean[]> = {};
    succeeds(
      await during(async () => {
        for (const { Name, State, HostConfig } of await clone.inspect()) {
          const service = Name.replace(`/coupon-load-test-${clone.stack}-`, "").replace(
            /^.*Z-/,
            "",
          );
          const text = status(State.Pid);
          rights[service] = [held(text, "CapEff"), held(text, "CapBnd"), held(text, "NoNewPrivs")];
          const { Memory, NanoCpus, CpuQuota } = HostConfig;
          limits[service] = [Memory > 0, NanoCpus + CpuQuota > 0];
        }
      }),
    );
    const names = ["coupon-api", "coupon-api-redis", "grafana", "influxdb", "k6"];
    // InfluxDB may read and write files of other users, bit 1: its image may have another user.
    const only = (name: string) => (name === "influxdb" ? "2" : "0").padStart(16, "0");
    const expected = names.map((name) => [name, [only(name), only(name), "1"]]);
    expect(rights).toEqual(Object.fromEntries(expected));
    // k6 short of processors would measure itself.
    const limited = names.map((name) => [name, [true, name !== "k6"]]);
    expect(limits).toEqual(Object.fromEntries(limited));
    for (const service of ["influxdb", "coupon-api-redis"]) {
      const touch = await run("docker", ["exec", container(service), "touch", "/here"]);
      expect(touch.output, service).toContain("Read-only file system");
    }
  });

  it("listens where `bindAddress` says, asks for a login there, and shows no sample API", async () => {
    const gateway = "{{(index .IPAM.Config 0).Gateway}}";
    const network = container("network");
    const address = await printed("docker", "network", "inspect", "--format", gateway, network);
    succeeds(await clone.make("up", { ...load, bindAddress: address }));
    const status = (host: string, port: number, page: string) =>
      fetch(`http://${host}:${port}${page}`).then(
        (response) => response.status,
        ({ cause }) => cause.code,
      );
    const pages: [number, string][] = [
      [ports.influxdbPort, "/query?q=SHOW+DATABASES"],
      [ports.grafanaPort, "/api/search"],
      [ports.couponApiPort, "/health"],
    ];
    const seen = (host: string) =>
      Promise.all(pages.map(([port, page]) => status(host, port, page)));
    expect(await seen(address)).toEqual([401, 401, "ECONNREFUSED"]);
    expect(await seen("127.0.0.1")).toEqual(["ECONNREFUSED", "ECONNREFUSED", 200]);
  });

  it("is gone by `make destroy` though InfluxDB and Grafana were removed by hand", async () => {
    await printed("docker", "rm", "--force", container("influxdb"), container("grafana"));
    const destroy = await clone.make("destroy");
    succeeds(destroy);
    expect(await clone.inDocker()).toEqual([]);
    expect(clone.exists(".state")).toBe(false);
    const expected = "nothing is left";
    const fault = "InfluxDB and Grafana removed by hand before `make destroy`";
    add({ fault, expected, seen: destroy.lastLine });
  });
});

describe("a stack whose Docker", () => {
  let clone: Clone;
  let daemon: DockerDaemon;
  let lacking: string | undefined;
  const add = (outcome: Outcome) =>
    faults.add(outcome, { stack: clone.stack, "Docker's socket": daemon.env.DOCKER_HOST });

  beforeAll(async () => {
    if (missing) return;
    const started = await DockerDaemon.start(Object.values(images).map(String));
    if ("missing" in started) return void (lacking = started.missing);
    daemon = started;
    clone = new Clone(
      { ...images, ...(await freePorts()) },
      { target: "sample", duration: "8s" },
      false,
      daemon,
    );
    removed.push(clone, daemon);
  });
  beforeEach(({ skip }) => {
    if (lacking) skip(lacking);
  });

  it("restarts during a run says so, and comes up again", async () => {
    succeeds(await clone.make("up"));
    const load = clone.start("load");
    const k6 = async () =>
      (await clone.printed("docker", "ps", "--format", "{{.Names}}")).includes(`${clone.stack}-2`);
    await until(k6);
    await sleep(3000);
    await daemon.restart();
    const { code, lastLine } = await load.ended;
    expect(code).not.toBe(0);
    expect(lastLine).toMatch(/^make load: .*(docker|k6|InfluxDB)/);
    const up = await clone.make("up");
    succeeds(up);
    expect(clone.latestRun().verdict).toBe("passed");
    const expected = "the run fails with one line; the next `make up` passes";
    add({ fault: "Docker restarted during a run", expected, seen: lastLine });
  });

  it("comes back after a reboot has its stack back, with its data", async () => {
    const runs = clone.runs();
    const [a, b] = [runs[0], runs.at(-1)!];
    const { "influxdb-grafana-password": password } = await clone.secrets();
    const { influxdbUrl } = await clone.outputs();
    clone.write("build/login", `user = "grafana:${password}"`);
    const count = async () => {
      const query = `q=SELECT count("value") FROM "http_reqs"`;
      const ask = ["--data-urlencode", query, `${influxdbUrl}/query?db=k6`];
      const as = ["--config", clone.path("build/login")];
      const answer = JSON.parse(await clone.printed("curl", "--silent", ...as, ...ask));
      return answer.results[0].series[0].values[0][1] as number;
    };
    const before = await count();
    expect(before).toBeGreaterThan(0);

    await daemon.reboot();
    await until(async () => (await clone.inspect()).every(({ State }) => State.Running));
    await until(() => count().catch(() => 0));
    const lost = before - (await count());
    expect(lost).toBe(0);
    const compared = await clone.makeOnly("compare", `A=${a}`, `B=${b}`);
    succeeds(compared);
    const up = await clone.make("up");
    succeeds(up);
    expect(up.lastLine).toBe("no test was due: nothing that it depends on has changed");
    const drift = await clone.make("drift");
    succeeds(drift);
    expect(drift.lastLine).toBe("nothing was changed by hand");
    const expected =
      "containers come back by themselves, with ledger and points; `make up` has nothing to do, `make drift` finds nothing";
    add({ fault: "Machine rebooted", expected, seen: up.lastLine, lost });
    succeeds(await clone.make("destroy"));
    expect(await clone.inDocker()).toEqual([]);
  });
});
