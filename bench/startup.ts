/** How long it takes from nothing to the first request: `make up` against the guide's compose file. */
import { execFile } from "node:child_process";
import * as crypto from "node:crypto";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { root } from "../root";
import { freePort } from "../runner/ports";
import { Clone, stackImages } from "../test/support/stack";
import { type Load, runGuide } from "./load";
import { type Bench, median, NotMeasured, spread } from "./machine";

export interface Startup {
  images: string;
  table: string[][];
  /** `make up` over docker-compose, to the first request. */
  cold: number;
  warm: number;
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
  const guide = new GuideStack(bench, compose, {
    INFLUXDB_IMAGE: images.influxdbImage,
    GRAFANA_IMAGE: images.grafanaImage,
    INFLUXDB_PORT: `${await freePort()}`,
    GRAFANA_PORT: `${await freePort()}`,
  });
  const times: Record<string, number[]> = {};
  const note = (name: string, seconds: number) => (times[name] ??= []).push(seconds);
  try {
    for (let round = 0; round < bench.rounds; round++) {
      const ours = async () => {
        note("coldOurs", (await target.time(() => make(bench, clone, "up"))).first);
        note("again", (await target.time(() => make(bench, clone, "up"))).total);
        note("preview", (await target.time(() => make(bench, clone, "preview"))).total);
        note("warmOurs", (await target.time(() => make(bench, clone, "load"))).first);
        await make(bench, clone, "destroy");
      };
      const theirs = async () => {
        note("coldGuide", (await target.time(() => guide.up(target.url))).first);
        note("warmGuide", (await target.time(() => guide.up(target.url))).first);
        await guide.down();
      };
      for (const side of round % 2 ? [theirs, ours] : [ours, theirs]) await side();
      bench.say(`start, round ${round + 1}: ${JSON.stringify(times)}`);
    }
  } finally {
    await Promise.allSettled([guide.down(), clone.remove()]);
    target.stop();
  }
  const row = (label: string, guide: string | undefined, ours: string) => [
    label,
    guide ? spread(times[guide], 1) : "",
    spread(times[ours], 1),
    guide ? (median(times[ours]) / median(times[guide])).toFixed(2) : "",
  ];
  return {
    images: `${images.influxdbImage}, ${images.grafanaImage}, ${images.k6Image}`,
    table: [
      ["", "docker-compose, s", "make, s", "ratio"],
      row("cold, to the first request: `make up`", "coldGuide", "coldOurs"),
      row("warm, to the first request: `make load`", "warmGuide", "warmOurs"),
      row("second `make up`, nothing changed, to its end", undefined, "again"),
      row("`make preview`, nothing changed, to its end", undefined, "preview"),
    ],
    cold: median(times.coldOurs) / median(times.coldGuide),
    warm: median(times.warmOurs) / median(times.warmGuide),
  };
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

/** The guide's stack, brought up as its text says. */
class GuideStack {
  private readonly project = `bench${crypto.randomBytes(4).toString("hex")}`;

  constructor(
    private readonly bench: Bench,
    private readonly command: string[],
    private readonly env: Record<string, string>,
  ) {}

  private async compose(...args: string[]): Promise<string> {
    const [program, ...first] = this.command;
    const file = path.join(root, "bench/guide/docker-compose.yml");
    const all = [...first, "-p", this.project, "-f", file, ...args];
    return (await exec(program, all, { env: { ...process.env, ...this.env } })).stdout;
  }

  /** Sections 3 to 5: compose, the database made in InfluxDB's own console, k6. */
  async up(targetUrl: string) {
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
    await runGuide(this.bench, load, targetUrl, `http://localhost:${this.env.INFLUXDB_PORT}`);
  }

  async down() {
    await this.compose("down", "--volumes");
  }
}
