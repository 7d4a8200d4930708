/** How long it takes from nothing to the first request: `make up` against the guide's compose file. */
import { execFile } from "node:child_process";
import * as crypto from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { couponIssueDashboard } from "../dashboards/coupon-issue";
import { runsDashboard, runsUid } from "../dashboards/runs";
import { defaultThresholds } from "../k6/profile";
import { root } from "../root";
import { freePort } from "../runner/ports";
import { Clone, stackImages } from "../test/support/stack";
import { guideScript, type Load, runGuide } from "./load";
import { type Bench, median, NotMeasured, spread } from "./machine";

export interface Startup {
  images: string;
  table: string[][];
  /** Where the time of each command goes. */
  profile: string[][];
  /** To the first request: `make up` over docker-compose that waits for Grafana, `make load` over `docker run`. */
  cold: number;
  load: number;
  /** To the end: a second `make up` over a second docker-compose. */
  again: number;
  /** To its end, in seconds. */
  preview: number;
}

const exec = promisify(execFile);
const load: Load = { rate: 20, duration: "1s", preAllocatedVUs: 10 };

/** A target that knows when it got its first coupon request. */
async function watchedTarget() {
  let first: number | undefined;
  const server = http.createServer((request, response) => {
    if (request.method === "POST") first ??= performance.now();
    response.writeHead(201).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Seconds from the start of `work` to the first request, and to its end. */
    async time(work: () => Promise<unknown>) {
      first = undefined;
      const started = performance.now();
      await work();
      const total = (performance.now() - started) / 1000;
      return { first: first === undefined ? NaN : (first - started) / 1000, total };
    },
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

export async function measureStartup(bench: Bench): Promise<Startup> {
  const found = await stackImages();
  if ("missing" in found) throw new NotMeasured(found.missing);
  const { images } = found;
  const compose = await composeCommand();
  const target = await watchedTarget();
  const [influxdbPort, grafanaPort] = [await freePort(), await freePort()];
  const clone = new Clone(
    {
      ...images,
      ...{ influxdbPort, grafanaPort, baseUrl: target.url },
      ...{ rate: load.rate, timeUnit: "1s", duration: load.duration },
      ...{ preAllocatedVUs: load.preAllocatedVUs, maxVUs: load.preAllocatedVUs },
    },
    { target: "external" },
  );
  const env = {
    INFLUXDB_IMAGE: images.influxdbImage,
    GRAFANA_IMAGE: images.grafanaImage,
    INFLUXDB_PORT: `${await freePort()}`,
    GRAFANA_PORT: `${await freePort()}`,
  };
  const guide = new GuideStack(bench, compose, env, images.k6Image);
  const times: Record<string, number[]> = {};
  const note = (name: string, seconds: number) => (times[name] ??= []).push(seconds);
  const phases: Record<string, number[][]> = {};
  const log = `.state/${clone.stack}.log`;
  const ours = async (command: string, row = command) => {
    // `make destroy` removes its log with everything else; by another name it stays.
    if (command === "destroy") fs.linkSync(clone.path(log), clone.path("destroy.log"));
    const taken = await target.time(() => make(bench, clone, command));
    const written = command === "destroy" ? "destroy.log" : log;
    (phases[row] ??= []).push(phasesOf(clone.read(written), taken));
    if (command === "destroy") fs.rmSync(clone.path(written));
    return taken;
  };
  try {
    for (let round = 0; round < bench.rounds; round++) {
      const stack = async () => {
        note("coldOurs", (await ours("up", "up, cold")).first);
        note("again", (await ours("up", "up, again")).total);
        note("preview", (await ours("preview")).total);
        note("warmOurs", (await ours("load")).first);
        note("destroy", (await ours("destroy")).total);
      };
      const theirs = async () => {
        note("coldGuide", (await target.time(() => guide.up(target.url))).first);
        note("upAgain", (await target.time(() => guide.compose("up", "-d"))).total);
        note("warmGuide", (await target.time(() => guide.up(target.url))).first);
        note("dockerRun", (await target.time(() => guide.run(target.url))).first);
        await guide.down();
      };
      const waiting = async () => {
        note("coldWaiting", (await target.time(() => guide.upAndWait(target.url))).first);
        await guide.down();
      };
      for (const side of round % 2 ? [theirs, waiting, stack] : [stack, waiting, theirs]) {
        await side();
      }
      bench.say(`start, round ${round + 1}: ${JSON.stringify(times)}`);
    }
  } finally {
    await Promise.allSettled([guide.down(), clone.remove()]);
    target.stop();
  }
  const ratio = (ours: string, theirs: string) => median(times[ours]) / median(times[theirs]);
  const row = (what: string, theirs?: string, ours?: string) => [
    what,
    theirs ? spread(times[theirs], 1) : "",
    ours ? spread(times[ours], 1) : "",
    theirs && ours ? ratio(ours, theirs).toFixed(2) : "",
  ];
  return {
    images: `${images.influxdbImage}, ${images.grafanaImage}, ${images.k6Image}`,
    table: [
      ["", "theirs, s", "ours, s", "ratio"],
      row("cold: docker-compose as the guide has it, `make up`", "coldGuide", "coldOurs"),
      row("cold: docker-compose that waits for Grafana, `make up`", "coldWaiting", "coldOurs"),
      row("warm: k6 of this machine, `make load`", "warmGuide", "warmOurs"),
      row("warm: `docker run` of k6, `make load`", "dockerRun", "warmOurs"),
      row("nothing changed, to the end: `docker-compose up`, `make up`", "upAgain", "again"),
      row("nothing changed, to the end: `make preview`", undefined, "preview"),
      row("to the end: `make destroy`", undefined, "destroy"),
    ],
    profile: [
      ["`make` ...", ...phaseNames],
      ...Object.entries(phases).map(([command, rounds]) => [
        command,
        ...phaseNames.map((_, at) => {
          const all = rounds.map((each) => each[at]).filter((each) => !Number.isNaN(each));
          return all.length > 0 ? median(all).toFixed(1) : "";
        }),
      ]),
    ],
    cold: ratio("coldOurs", "coldWaiting"),
    load: ratio("warmOurs", "dockerRun"),
    again: ratio("again", "upAgain"),
    preview: median(times.preview),
  };
}

/** What a command of make does, one after the other. */
const phaseNames = [
  "settings and machine are checked",
  "Pulumi starts",
  "what is there is looked at",
  "the program is loaded",
  "resources are made, compared or removed",
  "k6 comes to its first request",
  "the test, and what comes after it",
];

/**
 * Seconds of each phase, by the log of a command; NaN where there was none.
 *
 * @param taken from the command to the first request, and to its end
 */
function phasesOf(log: string, taken: { first: number; total: number }): number[] {
  const steps = [...log.matchAll(/^\[([\d.]+) s\] (.*)$/gm)].map(([, seconds, what]) => ({
    at: Number(seconds),
    what,
  }));
  const at = (what: RegExp) => steps.find((step) => what.test(step.what))?.at ?? NaN;
  const last = (what: RegExp) => steps.filter((step) => what.test(step.what)).at(-1)?.at ?? NaN;
  const started = at(/^pulumi \w+$/);
  const looked = last(/ refresh ends$/);
  const program = steps.find(
    ({ at, what }) => at > (looked || 0) && / (same|create|update|delete) begins$/.test(what),
  );
  const first = at(/ (refresh|same|create) begins$/);
  const test = at(/^load-test-run create(-replacement)? begins$/);
  const ended = at(/^pulumi has ended$/);
  // The log begins with Node.js, which `make` starts.
  const before = taken.total - ended;
  const made = Number.isNaN(test) ? ended : test;
  return [
    started + before,
    first - started,
    looked - first,
    (program?.at ?? NaN) - (looked || started + (first - started)),
    made - (program?.at ?? NaN),
    taken.first - test - before,
    Number.isNaN(test) ? NaN : taken.total - taken.first,
  ];
}

async function make(bench: Bench, clone: Clone, command: string) {
  bench.signal.throwIfAborted();
  const { code, output } = await clone.make(command);
  if (code !== 0) throw new Error(`make ${command} failed: ${output.slice(-2000)}`);
}

async function composeCommand(): Promise<string[]> {
  for (const command of [["docker-compose"], ["docker", "compose"]]) {
    const works = await exec(command[0], [...command.slice(1), "version"]).then(
      () => true,
      () => false,
    );
    if (works) return command;
  }
  throw new NotMeasured("there is no docker-compose and no docker compose");
}

/** Where Grafana's container has the files of its dashboards. */
const there = "/etc/grafana/provisioned";

/** The guide's stack, brought up as its text says. */
class GuideStack {
  /** More compose files. */
  private more: string[] = [];
  private readonly project = `bench${crypto.randomBytes(4).toString("hex")}`;

  constructor(
    private readonly bench: Bench,
    private readonly command: string[],
    private readonly env: Record<string, string>,
    private readonly k6Image: string,
  ) {}

  async compose(...args: string[]): Promise<string> {
    const [program, ...first] = this.command;
    const file = path.join(root, "bench/guide/docker-compose.yml");
    const all = [...first, "-p", this.project, "-f", file, ...this.more, ...args];
    return (await exec(program, all, { env: { ...process.env, ...this.env } })).stdout;
  }

  /** Sections 3 to 5: compose, the database made in InfluxDB's own console, k6. */
  async up(targetUrl: string) {
    await this.createDatabase();
    await this.k6(targetUrl);
  }

  private async k6(targetUrl: string) {
    await runGuide(this.bench, load, targetUrl, `http://localhost:${this.env.INFLUXDB_PORT}`);
  }

  private async createDatabase() {
    this.bench.signal.throwIfAborted();
    await this.compose("up", "-d");
    const container = (await this.compose("ps", "-q", "influxdb")).trim();
    const create = ["exec", container, "influx", "-execute", "CREATE DATABASE k6"];
    // The console cannot connect before InfluxDB listens.
    for (let attempt = 0; ; attempt++) {
      const error = await exec("docker", create).then(
        () => undefined,
        (reason) => reason as Error,
      );
      if (!error) break;
      if (attempt === 300) throw error;
      await sleep(100);
    }
  }

  /** The same, with data source and dashboards out of files, and k6 only once Grafana shows them. */
  async upAndWait(targetUrl: string) {
    const folder = path.join(this.bench.folder, "provisioned");
    fs.mkdirSync(path.join(folder, "dashboards"), { recursive: true });
    const dataSourceUid = "k6-influxdb";
    const source = {
      uid: dataSourceUid,
      name: "k6",
      type: "influxdb",
      url: "http://influxdb:8086",
    };
    const files = {
      "datasources.yml": { datasources: [{ ...source, jsonData: { dbName: "k6" } }] },
      "dashboards.yml": { providers: [{ name: "k6", options: { path: `${there}/dashboards` } }] },
      "dashboards/run.json": couponIssueDashboard({
        ...{ uid: "coupon-issue", dataSourceUid, thresholds: defaultThresholds, retention: "30d" },
      }),
      "dashboards/runs.json": runsDashboard({
        ...{ uid: runsUid, runUid: "coupon-issue", dataSourceUid, thresholds: defaultThresholds },
      }),
      "compose.json": {
        version: "3",
        services: {
          grafana: {
            volumes: [
              `${folder}/datasources.yml:/etc/grafana/provisioning/datasources/k6.yml:ro`,
              `${folder}/dashboards.yml:/etc/grafana/provisioning/dashboards/k6.yml:ro`,
              `${folder}/dashboards:${there}/dashboards:ro`,
            ],
          },
        },
      },
    };
    for (const [name, content] of Object.entries(files)) {
      fs.writeFileSync(path.join(folder, name), JSON.stringify({ apiVersion: 1, ...content }));
    }
    fs.writeFileSync(path.join(folder, "compose.json"), JSON.stringify(files["compose.json"]));
    this.more = ["-f", path.join(folder, "compose.json")];
    try {
      await this.createDatabase();
      const page = `http://localhost:${this.env.GRAFANA_PORT}/api/dashboards/uid/${runsUid}`;
      const headers = { authorization: `Basic ${btoa("admin:admin123")}` };
      while (!(await fetch(page, { headers }).catch(() => undefined))?.ok) await sleep(100);
      await this.k6(targetUrl);
    } finally {
      this.more = [];
    }
  }

  /** k6 in a container, as its manual says, against the store that runs. */
  async run(targetUrl: string) {
    const out = `influxdb=http://localhost:${this.env.INFLUXDB_PORT}/k6`;
    const args = ["run", "--rm", "--interactive", "--network", "host", this.k6Image];
    const child = execFile("docker", [...args, "run", "--quiet", "--out", out, "-"]);
    child.stdin!.end(guideScript(load, targetUrl));
    const [code] = await once(child, "close");
    if (code !== 0) throw new Error(`docker run of k6 ended with exit code ${code}`);
  }

  async down() {
    await this.compose("down", "--volumes");
  }
}
