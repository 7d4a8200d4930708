/**
 * Every number is true: panels, verdict and stored points against what k6 itself wrote down, sample
 * by sample (`--out json`), computed here without the project's queries.
 */
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import * as readline from "node:readline";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { parseConfig } from "../../config";
import { couponIssueDashboard, minInterval } from "../../dashboards/coupon-issue";
import * as queries from "../../dashboards/queries";
import {
  arrivalRate,
  defaultProfile,
  defaultThresholds,
  durationSeconds,
  ownScript,
  type LoadProfile,
} from "../../k6/profile";
import { query, write } from "../../runner/influxdb";
import { charts, headline, table } from "../../runner/report";
import type { RunRequest } from "../../runner/types";
import { type Values } from "../../values";
import { findParts, Rig, type Ended, type Store } from "../support/rig";

let missing: string | undefined;
let rig: Rig;
const listening: http.Server[] = [];

beforeAll(async () => {
  const found = await findParts();
  if ("missing" in found) return void (missing = found.missing);
  rig = await Rig.start(found.parts);
  await Promise.all([guide.start(), faster.start()]);
}, 600_000);

beforeEach((context) => context.skip(missing !== undefined, missing));

afterAll(async () => {
  await rig?.stop();
  for (const server of listening) server.close().closeAllConnections();
});

/** Starts a server on loopback. */
async function listen(answer: http.RequestListener): Promise<string> {
  const server = http.createServer({ keepAliveTimeout: 60_000 }, answer);
  listening.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", 4096, resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/**
 * A target whose answers are known: 4 to 24 ms, every 40th 100 ms more; of 100 requests 3 end with
 * status 500 and 4 with 409, so that no figure is trivial. It keeps how long each took.
 */
async function knownTarget() {
  const delays: number[] = [];
  let requests = 0;
  const url = await listen((request, response) => {
    if (request.method !== "POST") return void response.end();
    const since = performance.now();
    const n = requests++;
    const hundredth = (n * 37) % 100;
    const status = hundredth < 3 ? 500 : hundredth < 7 ? 409 : n % 2 ? 200 : 201;
    setTimeout(
      () => {
        delays.push(performance.now() - since);
        response.writeHead(status).end();
      },
      4 + ((n * 7919) % 1000) / 50 + (n % 40 === 17 ? 100 : 0),
    );
  });
  return { url, delays };
}

/** One sample as k6 measured it. */
interface Sample {
  /** Nanoseconds since 1970. */
  time: bigint;
  value: number;
}

/** The samples of each metric in a file of k6's `--out json`. */
async function readSamples(file: string): Promise<Record<string, Sample[]>> {
  const samples: Record<string, Sample[]> = {};
  for await (const line of readline.createInterface({ input: fs.createReadStream(file) })) {
    const { type, metric, data } = JSON.parse(line);
    if (type !== "Point") continue;
    // 2026-01-02T03:04:05.123456789+01:00, with up to nine digits
    const [, seconds, fraction = "", zone] = /^([^.]{19})(?:\.(\d+))?(.*)$/.exec(data.time)!;
    const time = BigInt(Date.parse(seconds + zone)) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
    (samples[metric] ??= []).push({ time, value: data.value });
  }
  return samples;
}

/** Has the run write its samples to a file, too: the project's options know no second output. */
function alsoWriteSamples(request: RunRequest): string {
  const { k6 } = rig.parts;
  const file = path.join(rig.folder, `${request.stack}.json`);
  const binary = path.join(rig.folder, `${request.stack}-k6`);
  const text = `#!/bin/sh\n[ "$1" = run ] && exec '${k6}' "$@" --out 'json=${file}'\nexec '${k6}' "$@"\n`;
  fs.writeFileSync(binary, text, { mode: 0o755 });
  request.executor = { kind: "local", binary };
  return file;
}

/** The points of a measurement as InfluxDB has them: nanoseconds and value. */
async function stored({ database, credentials }: Store, measurement: string): Promise<string[]> {
  const { username, password } = credentials.reader;
  const parameters = { db: database, epoch: "ns", q: `SELECT "value" FROM "${measurement}"` };
  const answer = await fetch(`${rig.admin.url}/query?${new URLSearchParams(parameters)}`, {
    headers: { authorization: `Basic ${btoa(`${username}:${password}`)}` },
  });
  // As text, since JavaScript's numbers cannot hold the nanoseconds.
  const points = (await answer.text()).matchAll(/\[(\d{19}),([\d.e+-]+)\]/g);
  return [...points].map(([, time, value]) => `${time} ${Number(value)}`);
}

/** What k6 counted itself. */
function counted({ dir }: Ended): Record<string, { count: number; rate: number } | undefined> {
  return JSON.parse(fs.readFileSync(path.join(dir, "k6-summary.json"), "utf8")).metrics;
}

// The figures, straight from values ---------------------------------------------------------------

type Figure = (values: number[], seconds: number) => number | null;

/** InfluxDB's percentile: of n values in order, number n * p / 100, rounded; there is no 0th. */
const percentile =
  (p: number): Figure =>
  (values) =>
    [...values].sort((a, b) => a - b)[Math.floor((values.length * p) / 100 + 0.5) - 1] ?? null;
const sum = (values: number[]) => values.reduce((all, each) => all + each, 0);
const mean: Figure = (values) => (values.length > 0 ? sum(values) / values.length : null);
const perSecond: Figure = (values, seconds) => sum(values) / seconds;

/** What the panels draw, by the beginning of their names in the legend. */
const panels: Record<string, { metric: string; figure: Figure }> = {
  p99: { metric: "http_req_duration", figure: percentile(99) },
  p95: { metric: "http_req_duration", figure: percentile(95) },
  avg: { metric: "http_req_duration", figure: mean },
  RPS: { metric: "http_reqs", figure: perSecond },
};

/** What each query gives of that, by the rest of its name. */
const kinds = ["", " of the whole run", " of these routes", " of the whole range"];

/** Equal, but for the last digits of a sum in another order. */
function expectEqual(actual: unknown, expected: number | null, where: string) {
  if (expected === null || expected === 0) return expect(actual, where).toBe(expected);
  const relative = Math.abs(Number(actual) - expected) / Math.abs(expected);
  expect(relative, `${where}: ${actual} instead of ${expected}`).toBeLessThan(1e-9);
}

/**
 * Figures of whole intervals that begin in a range, the first with the run: percentiles to within
 * 0.1 % or a microsecond.
 */
function expectTold(
  rows: unknown[][],
  samples: Sample[],
  figure: Figure,
  { from, to, seconds }: { from: number; to: number; seconds: number },
  alias: string,
) {
  const length = seconds * 1000;
  const intervals = new Map<number, { toldAt: number; values: number[] }>();
  const ended = samples.map(({ time, value }) => [Number(time / 1_000_000n), value]);
  const first = Math.min(...ended.map(([time]) => time));
  for (const [time, value] of ended) {
    const start = time - (time % length);
    const interval = intervals.get(start) ?? { toldAt: Math.max(start, first), values: [] };
    interval.values.push(value);
    intervals.set(start, interval);
  }
  const expected = [...intervals]
    .filter(([, { toldAt }]) => toldAt >= from && toldAt <= to)
    .map(([start, { values }]): [number, number] => [start, figure(values, seconds)!])
    .sort(([a], [b]) => a - b);
  const given = rows.filter(([, value]) => value !== null) as [number, number][];
  expect(
    given.map(([time]) => time),
    alias,
  ).toEqual(expected.map(([time]) => time));
  given.forEach(([time, value], at) => {
    const exact = expected[at][1];
    const off = /^p9/.test(alias) ? exact * 0.001 + 0.001 : exact * 1e-9;
    expect(Math.abs(value - exact), `${alias} at ${time}: ${value}, exactly ${exact}`).toBeLessThan(
      off,
    );
  });
}

// Two runs that the tests look at -----------------------------------------------------------------

class Observed {
  ended!: Ended;
  samples!: Record<string, Sample[]>;
  store!: Store;
  delays!: number[];

  constructor(readonly profile: LoadProfile) {}

  async start() {
    this.store = await rig.store();
    const { url, delays } = await knownTarget();
    this.delays = delays;
    const request = rig.request(this.store, url, {
      profile: this.profile,
      thresholds: { ...defaultThresholds, failedRate: 0.2, checksRate: 0.8 },
      dashboardUrl: "http://127.0.0.1/d/coupon-issue",
    });
    const file = alsoWriteSamples(request);
    this.ended = await rig.run(request, this.store);
    if (this.ended.code !== 0) throw new Error(this.ended.lines.join("\n"));
    this.samples = await readSamples(file);
  }

  get summary() {
    return this.ended.summary;
  }

  values(metric: string): number[] {
    return (this.samples[metric] ?? []).map(({ value }) => value);
  }

  /** Asks as Grafana's user. */
  async ask(text: string) {
    const { database, credentials } = this.store;
    return query({ url: rig.admin.url, ...credentials.reader }, text, database);
  }

  /** k6's own count and rate of the requests. */
  get counted() {
    return counted(this.ended).http_reqs!;
  }
}

/** The guide's rate, 17 requests a second, and one at which intervals of a second say something. */
const guide = new Observed({ ...defaultProfile, duration: "20s", userCount: 5 });
const faster = new Observed({
  ...defaultProfile,
  rate: 150,
  timeUnit: "1s",
  duration: "12s",
  userCount: 5000,
});

describe.each([
  ["17 requests a second", guide],
  ["150 requests a second", faster],
])("a run of %s", (_, run) => {
  const rate = arrivalRate(run.profile);

  test("made as many requests as it offered, and k6 measured what the target did", () => {
    const durations = run.values("http_req_duration");
    const offered = rate * durationSeconds(run.profile.duration)!;
    expect(Math.abs(durations.length - offered)).toBeLessThanOrEqual(2);
    expect(durations).toHaveLength(run.delays.length);
    // In order of length, each took at least as long as the target did.
    const delays = [...run.delays].sort((a, b) => a - b);
    durations.sort((a, b) => a - b);
    expect(durations.filter((duration, n) => duration < delays[n])).toEqual([]);
    expect(Math.max(...durations)).toBeGreaterThan(100);
    const failed = mean(run.values("http_req_failed"), 0)!;
    expect(failed).toBeGreaterThan(0.05);
    expect(failed).toBeLessThan(0.09);
  });

  test("is stored whole: every sample of every metric, with its time and its value", async () => {
    expect(run.counted.count).toBe(run.samples.http_reqs.length);
    const metrics = Object.keys(run.samples);
    expect(metrics).toEqual(expect.arrayContaining(["http_reqs", "checks", "iterations", "vus"]));
    const measured = (metric: string) =>
      run.samples[metric].map(({ time, value }) => `${time} ${value}`).sort();
    for (const metric of metrics) {
      expect((await stored(run.store, metric)).sort(), metric).toEqual(measured(metric));
    }
  });

  test("makes at most 20 series, however many users there are", async () => {
    const cardinality = `SHOW SERIES EXACT CARDINALITY WHERE "testid" = '${run.summary.id}'`;
    const [measurements] = await run.ask(cardinality);
    const series = measurements
      .filter(
        ({ name }) => ![queries.progressMeasurement, queries.routesMeasurement].includes(name),
      )
      .map(({ values }) => Number(values[0][0]));
    const [[all]] = await run.ask("SHOW SERIES");
    const own = all.values.filter(([key]) =>
      new RegExp(`^(?!k6_runs,|k6_progress,|k6_routes,).*testid=${run.summary.id}`).test(
        String(key),
      ),
    );
    expect(own).toHaveLength(sum(series));
    expect(own.length, JSON.stringify(own)).toBeLessThanOrEqual(20);
  });

  describe("panels", () => {
    const dashboard = couponIssueDashboard({
      uid: "",
      dataSourceUid: "",
      thresholds: defaultThresholds,
      retention: "30d",
      profile: { ...defaultProfile, rate, timeUnit: "1s" },
    });
    const targets = dashboard.panels
      .flatMap((panel) => panel.targets)
      .map(({ alias, query }) => {
        const [name, kind] = /^(\w+)(.*), \$tag_testid$/.exec(alias)!.slice(1);
        return { name, kind, query, alias };
      });

    /** What Grafana makes of a query; of all routes, or of each by its name. */
    const filled = (query: string, routes: string, from: number, to: number) =>
      query
        .replaceAll("${testid:regex}", run.summary.id)
        .replaceAll("${name:regex}", routes)
        .replaceAll("$timeFilter", `time >= ${from}ms and time <= ${to}ms`);

    test("are all known here", () => {
      const known = Object.keys(panels).flatMap((name) => kinds.map((kind) => name + kind));
      expect(targets.map(({ name, kind }) => name + kind).sort()).toEqual(
        known.filter((each) => each !== "RPS of the whole range").sort(),
      );
    });

    test("tell figures of the whole run as the verdict has them", async () => {
      const { p99Ms, p95Ms, avgMs, rps, startedAt, endedAt } = run.summary;
      const told = [];
      for (const { query } of targets.filter(({ kind }) => kind === " of the whole run")) {
        const [from, to] = [Date.parse(startedAt!), Date.parse(endedAt!)];
        const [[{ values: rows }]] = await run.ask(filled(query, queries.allRoutes, from, to));
        expect(rows).toHaveLength(1);
        told.push(Number(Number(rows[0][1]).toFixed(2)));
      }
      expect(told).toEqual([p99Ms, p95Ms, avgMs, rps]);
    });

    test("read no raw points of all routes, and nothing of the runner of chosen ones", async () => {
      const [from, to] = [0, Date.now()];
      for (const { kind, query } of targets) {
        const isTold = kind === "" || kind === " of the whole run";
        const text = filled(query, isTold ? ".*POST.*" : queries.allRoutes, from, to);
        const every = text.replaceAll("$__interval_ms", "1000").replaceAll("$__interval", "1d");
        expect(await run.ask(every), text).toEqual([[]]);
      }
    });

    /** The run as its link opens it, with time before and after it, and a piece of it. */
    const ranges: Record<string, (from: number, to: number) => [number, number]> = {
      "the run": (from, to) => [from, to],
      "more than the run": (from, to) => [from - 15_432, to + 10_321],
      "a part of the run": (from, to) => [from + 3_333, to - 4_567],
    };
    const intervals = { "1s": 1, "5s": 5, "10s": 10, "1m": 60, "1d": 86_400 };

    for (const [range, cut] of Object.entries(ranges)) {
      test.each(Object.entries(intervals))(
        `over ${range} are true every %s`,
        async (text, seconds) => {
          const { startedAt, endedAt } = run.summary;
          const [from, to] = cut(Date.parse(startedAt!), Date.parse(endedAt!));
          for (const { name, kind, alias, query } of targets) {
            if (kind === " of the whole run") continue;
            const { metric, figure } = panels[name];
            const inRange = run.samples[metric].filter(
              ({ time }) => time >= BigInt(from) * 1_000_000n && time <= BigInt(to) * 1_000_000n,
            );
            const routes = kind === "" ? queries.allRoutes : ".*POST.*";
            const influxQl = filled(query, routes, from, to)
              .replaceAll("$__interval_ms", `${seconds * 1000}`)
              .replaceAll("$__interval", text);
            const [[{ values: rows = [] } = {}]] = await run.ask(influxQl);
            if (kind === "") {
              expectTold(rows, run.samples[metric], figure, { from, to, seconds }, alias);
              continue;
            }
            if (kind === " of the whole range") {
              expect(rows).toHaveLength(1);
              const values = inRange.map(({ value }) => value);
              expectEqual(rows[0][1], figure(values, seconds), alias);
              continue;
            }

            // Intervals begin at multiples of their length since 1970.
            const byInterval = new Map<number, number[]>();
            const length = seconds * 1000;
            for (let start = from - (from % length); start <= to; start += length) {
              byInterval.set(start, []);
            }
            for (const { time, value } of inRange) {
              const start = Number((time / BigInt(length * 1_000_000)) * BigInt(length));
              byInterval.get(start)!.push(value);
            }
            expect(rows.map(([time]) => time)).toEqual([...byInterval.keys()]);
            for (const [time, value] of rows) {
              const expected = figure(byInterval.get(Number(time))!, seconds);
              expectEqual(value, expected, `${alias} at ${time}`);
            }

            const counts = [...byInterval.values()].map((values) => values.length);
            expect(sum(counts)).toBe(inRange.length);
            if (range === "the run") {
              expect(inRange).toHaveLength(run.samples[metric].length);
              // Not only the intervals in the middle are seen, but the partial ones, too.
              const [first, last] = [rows[0], rows.at(-1)!].map(([time]) => Number(time));
              expect(first).toBeLessThan(from);
              expect(last + length).toBeGreaterThan(to);
              expect(counts[0]).toBeGreaterThan(0);
            }
          }
        },
      );
    }

    test("have an interval that holds 100 requests, so that p99 is not just the slowest", () => {
      const seconds = durationSeconds(minInterval(rate))!;
      const times = run.samples.http_req_duration.map(({ time }) => Number(time / 1_000_000n));
      const [first, last] = [Math.min(...times), Math.max(...times)];
      const length = seconds * 1000;
      const full: number[][] = [];
      for (let start = first - (first % length) + length; start + length <= last; start += length) {
        full.push(
          run.samples.http_req_duration
            .filter((_, n) => times[n] >= start && times[n] < start + length)
            .map(({ value }) => value),
        );
      }
      expect(full.length).toBeGreaterThan(0);
      // The mean, since on a busy machine some of an interval's requests end in the next one.
      expect(
        mean(
          full.map((values) => values.length),
          0,
        ),
      ).toBeGreaterThanOrEqual(100);
      for (const values of full.filter(({ length }) => length > 50)) {
        expect(percentile(99)(values, 0)).toBeLessThan(Math.max(...values));
      }
    });
  });

  describe("verdict", () => {
    /** The figures from the raw samples, to the printed digit. */
    const printed = () => {
      const durations = run.values("http_req_duration");
      const to = (digits: number, value: number | null) => Number(value!.toFixed(digits));
      return {
        requests: run.samples.http_reqs.length,
        rps: to(2, run.counted.rate),
        avgMs: to(2, mean(durations, 0)),
        p95Ms: to(2, percentile(95)(durations, 0)),
        p99Ms: to(2, percentile(99)(durations, 0)),
        failedRate: to(4, mean(run.values("http_req_failed"), 0)),
        droppedIterations: sum(run.values("dropped_iterations")),
      };
    };
    const passedChecks = () => mean(run.values("checks"), 0)!;

    test("is the samples' in the result and in summary.json", () => {
      const result = JSON.parse(run.ended.stdout);
      expect(result).toMatchObject(printed());
      const { thresholds, regressions, warnings, k6Version, ...rest } = run.summary;
      const { routes, curve, generator: _, ...shown } = rest;
      expect(result).toEqual(shown);
      expect(sum(routes!.map((each) => each.requests))).toBe(result.requests);
      expect(sum(curve!.rps) * curve!.every).toBeGreaterThan(result.requests / 2);
      expect([regressions, warnings]).toEqual([[], []]);
      expect(k6Version).toMatch(/^v[12]\./);

      const { requests, p95Ms, p99Ms, failedRate, droppedIterations } = printed();
      const checksRate = Number(passedChecks().toFixed(4));
      const expected = { p95Ms, p99Ms, failedRate, checksRate, droppedIterations, requests };
      const judged = thresholds.map(({ figure, value }) => [figure, value]);
      expect(Object.fromEntries(judged)).toEqual(expected);
      expect(thresholds.every(({ passed }) => passed)).toBe(true);
    });

    test("is the same in the terminal, in summary.md and beside the charts", async () => {
      const { requests, rps, avgMs, p95Ms, p99Ms, failedRate, droppedIterations } = printed();
      const percent = (share: number) => `${Number((share * 100).toFixed(2))} %`;
      const figures = {
        p99: `${p99Ms} ms`,
        p95: `${p95Ms} ms`,
        average: `${avgMs} ms`,
        RPS: `${rps}/s`,
        "failed requests": percent(failedRate),
        "passed checks": percent(passedChecks()),
        "dropped iterations": `${droppedIterations}`,
        requests: `${requests}`,
      };
      const cells = (text: string, between: RegExp, mark: RegExp) =>
        Object.fromEntries(
          text
            .split("\n")
            .filter((line) => mark.test(line))
            .map((line) => line.trim().split(between))
            .map(([label, value]) => [label, value])
            .filter(([label]) => label in figures),
        );
      expect(cells(table(run.summary), / {3,}/, /^ {2}/)).toEqual(figures);
      const markdown = fs.readFileSync(path.join(run.ended.dir, "summary.md"), "utf8");
      expect(cells(markdown.replace(/^\| /gm, ""), / \| /, / \| /)).toEqual(figures);

      const line =
        `run ${run.summary.id}: passed, ` +
        `p99 ${p99Ms} ms, p95 ${p95Ms} ms, average ${avgMs} ms, ${rps}/s`;
      expect(headline(run.summary)).toBe(line);
      expect(run.ended.lastLine).toBe(line);

      const drawn = charts(run.summary);
      const { p99, p95, average, RPS } = figures;
      expect(cells(drawn, / {3,}/, /^ {2}/)).toEqual({ p99, p95, average, RPS });
    });

    test("is what the queries give for the run, and covers it from its first request on", async () => {
      const scope = queries.run(run.summary.id);
      const first = async (text: string) => (await run.ask(text))[0][0]?.values[0][1];
      expectEqual(await first(queries.requestCount(scope)), run.samples.http_reqs.length, "count");
      const failed = mean(run.values("http_req_failed"), 0);
      expectEqual(await first(queries.failedShare(scope)), failed, "failed");
      const passed = await first(queries.totals(["checks"], scope));
      expectEqual(passed, sum(run.values("checks")), "checks");

      const { startedAt, endedAt, dashboardUrl } = run.summary;
      const from = Date.parse(startedAt!);
      const to = Date.parse(endedAt!);
      const begin = run.samples.http_req_duration.map(
        ({ time, value }) => Number(time / 1_000_000n) - value,
      );
      // The first request is the first that ended; another may have begun a moment earlier.
      expect(Math.abs(from - Math.min(...begin))).toBeLessThan(500);
      const milliseconds = (run.counted.count / run.counted.rate) * 1000;
      expect(Math.abs(to - from - milliseconds)).toBeLessThanOrEqual(1);
      expect(dashboardUrl).toBe(
        `http://127.0.0.1/d/coupon-issue?from=${from}&to=${to}&var-testid=${run.summary.id}`,
      );
    });
  });
});

test("InfluxDB's percentile of n requests is the slowest up to n = 50 for p99, 10 for p95", async () => {
  const { database, credentials } = await rig.store();
  const connection = { url: rig.admin.url, ...credentials.writer };
  // n values in second n, in no order, with the times of a test of long ago.
  const seconds = Array.from({ length: 250 }, (_, index) => index + 1);
  const values = (n: number) => Array.from({ length: n }, (_, i) => ((i * 7919 + n) % 1009) + 0.25);
  const lines = seconds.flatMap((n) =>
    values(n).map((value, i) => `http_req_duration value=${value} ${n}${`${i}`.padStart(9, "0")}`),
  );
  await rig.ask(database, `ALTER RETENTION POLICY "autogen" ON "${database}" DURATION INF`);
  await write(connection, database, lines.join("\n"));

  const every = { where: "time >= 1s AND time < 251s", every: { interval: "1s", ms: "1000" } };
  for (const [p, few] of [
    [99, 50],
    [95, 10],
  ]) {
    const [[{ values: rows }]] = await rig.ask(database, queries.durationPercentile(p, every));
    const given = rows.map(([, value]) => value);
    expect(given).toEqual(seconds.map((n) => percentile(p)(values(n), 1)));
    const isSlowest = seconds.filter((n) => given[n - 1] === Math.max(...values(n)));
    expect(isSlowest).toEqual(seconds.slice(0, few));
  }
});

describe("at a high rate", () => {
  let url: string;
  let answered = 0;
  const loaded = (store: Store, rate: number, duration: string, vus: number) =>
    rig.request(store, url, {
      profile: {
        ...defaultProfile,
        ...{ rate, timeUnit: "1s", duration, preAllocatedVUs: vus, maxVUs: vus },
      },
    });

  beforeAll(async () => {
    url = await listen((request, response) => {
      if (request.method === "POST") answered++;
      response.writeHead(201).end();
    });
  });

  test("every request is stored, or the run says which are not, and why", async () => {
    const store = await rig.store();
    // More than most machines reach with all parts on them: k6 drops iterations, but no sample.
    const request = loaded(store, 8000, "8s", 300);
    const file = alsoWriteSamples(request);
    const ended = await rig.run(request, store);
    expect(ended.summary).toMatchObject({ verdict: "passed" });
    const { http_reqs, dropped_iterations } = counted(ended);
    const made = http_reqs!.count;
    const samples = await readSamples(file);
    fs.rmSync(file);
    expect(samples.http_reqs).toHaveLength(made);
    expect(answered).toBe(made);
    expect(made).toBeGreaterThan(1000);

    // Of two that ended in the same nanosecond, InfluxDB keeps one; in most runs there are none.
    const distinct = (metric: string) => new Set(samples[metric].map(({ time }) => time)).size;
    const { requests, rps, droppedIterations, warnings } = ended.summary;
    expect(await stored(store, "http_reqs")).toHaveLength(distinct("http_reqs"));
    expect(requests).toBe(distinct("http_reqs"));
    const coincided = Object.keys(samples).filter(
      (metric) => !metric.startsWith("vus") && distinct(metric) < samples[metric].length,
    );
    // The other metrics of requests go without saying.
    const told = coincided.includes("http_reqs")
      ? [`${requests} of ${made} requests`, ...coincided.filter((each) => !/^http_req/.test(each))]
      : coincided;
    expect(warnings).toHaveLength(told.length > 0 ? 1 : 0);
    for (const each of told) expect(warnings![0]).toContain(each);
    expect(droppedIterations).toBe(dropped_iterations?.count ?? 0);
    expect(rps! / http_reqs!.rate).toBeCloseTo(1, 2);
  });

  /** Runs at 500 requests a second and removes some from InfluxDB, as if they had coincided. */
  async function runWithout(removed: number) {
    const store = await rig.store();
    const running = rig.start(loaded(store, 500, "4s", 50), store);
    await running.stored(10);
    for (const point of (await stored(store, "http_reqs")).slice(0, removed)) {
      const [time] = point.split(" ");
      await rig.ask(store.database, `DELETE FROM "http_reqs" WHERE time = ${time}`);
    }
    const ended = await running.ended;
    return { ...ended, made: counted(ended).http_reqs!.count };
  }

  test.concurrent("a run passes if as few are missing as may coincide", async ({ expect }) => {
    const { summary, made, dir } = await runWithout(1);
    const warning =
      `InfluxDB took every write, but holds ${made - 1} of ${made} requests: ` +
      `of two that end in the same nanosecond, as some do at this rate, it keeps one`;
    expect(summary).toMatchObject({ verdict: "passed", requests: made - 1, warnings: [warning] });
    expect(table(summary)).toContain(`warning: ${warning}`);
    expect(fs.readFileSync(path.join(dir, "summary.md"), "utf8")).toContain(`Warning: ${warning}`);
  });

  test.concurrent("a run fails if more are missing", async ({ expect }) => {
    const { summary, made } = await runWithout(20);
    expect(summary.reason).toBe(
      `points are missing from InfluxDB: ` +
        `k6 made ${made} requests, ${made - 20} are stored, 20 are missing`,
    );
  });
});

test("k6 takes every threshold that the configuration accepts", () => {
  const { k6 } = rig.parts;
  const manifest = parse(fs.readFileSync("Pulumi.yaml", "utf8")).config;
  const values: Values = {};
  for (const [key, declared] of Object.entries<{ default: unknown }>(manifest)) {
    values[key] = String(declared.default);
  }
  const inspect = (thresholds: unknown) => {
    const env = `THRESHOLDS=${JSON.stringify(thresholds)}`;
    execFileSync(k6, ["inspect", "--execution-requirements", "--env", env, ownScript], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  };
  expect(() => inspect({ p95Ms: "none" })).toThrow("threshold");

  const integer = (min: number) =>
    fc
      .oneof(fc.integer({ min, max: 10_000 }), fc.constantFrom(min, Number.MAX_SAFE_INTEGER))
      .map(String);
  const digits = fc.stringMatching(/^\d{1,18}$/);
  const share = fc.oneof(
    fc.constantFrom("0", "1", "1.0", ".5", "0.0000000001"),
    digits.map((text) => `0.${text}`),
    digits.map((text) => `.${text}`),
  );
  fc.assert(
    fc.property(
      fc.record({
        p95LimitMs: integer(1),
        p99LimitMs: integer(1),
        failedRateLimit: share,
        checksRateLimit: share,
        droppedIterationsLimit: integer(0),
      }),
      (limits) => {
        const baseUrl = "http://localhost:8080";
        inspect(parseConfig({ ...values, baseUrl, ...limits }, process.cwd()).thresholds);
      },
    ),
    { numRuns: 50 },
  );
});
