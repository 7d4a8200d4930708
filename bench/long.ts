/** What a test of hours costs: to watch it while it runs, and to judge it at its end. */
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { toldFigure, toldSoFar, run, type ToldFigure } from "../dashboards/queries";
import type { Counts } from "../runner/counts";
import { Digest, type Request } from "../runner/digest";
import { query } from "../runner/influxdb";
import { watch } from "../runner/progress";
import { measure } from "../runner/verify";
import { type Bench, number, type Side, startStore, type Store } from "./machine";
import { filled, guidePanels, runOf } from "./panels";
import { type Samples, writePoints } from "./points";

export interface Long {
  rate: number;
  /** InfluxDB's processor share that watching takes. */
  shares: string[][];
  /** Of ours with a page open, in percent of a core, with the fewest minutes stored and the most. */
  first: number;
  last: number;
  verdicts: string[][];
  /** InfluxDB's memory by what comes in a second. */
  memory: string[][];
  /** What the verdict of the most requests took, in seconds. */
  seconds: number;
  most: number;
}

const only = ["http_req_duration", "http_reqs"];

export async function measureLong(bench: Bench, samples: Record<Side, Samples>): Promise<Long> {
  const rate = bench.quick ? 100 : 1000;
  const minutes = bench.quick ? [1] : [1, 10, 100];
  const shares = [
    [
      "stored before",
      "guide, one page",
      "two pages",
      "ours, progress",
      "and one page",
      "two pages",
    ],
  ];
  const onePage: number[] = [];
  for (const before of minutes) {
    const guide = await watched(bench, "guide", samples.guide, rate, before);
    const ours = await watched(bench, "ours", samples.ours, rate, before);
    onePage.push(ours[1]);
    const percent = (share: number) => `${number(share, 1)} %`;
    shares.push([`${before} min`, ...guide.slice(1).map(percent), ...ours.map(percent)]);
  }
  const memory = [["requests/s", "InfluxDB's memory, MB"]];
  for (const rate of bench.quick ? [100] : [1000, 5000, 10_000, 20_000]) {
    memory.push([number(rate), number(await taken(bench, samples.ours, rate))]);
  }
  const sizes = bench.quick ? [10_000] : [1e6, 10e6, 50e6];
  const verdicts = [
    ["requests", "guide, one percentile, s", "memory, MB", "ours, all figures, s", "memory, MB"],
  ];
  let seconds = 0;
  for (const requests of sizes) {
    // More would take all the memory that there is.
    const tooMuch = requests > 10e6;
    const guide = tooMuch
      ? ["not tried", ""]
      : await judged(bench, "guide", samples.guide, requests);
    const ours = await judged(bench, "ours", samples.ours, requests);
    seconds = Number(ours[0].replaceAll(",", ""));
    verdicts.push([number(requests), ...guide, ...ours]);
  }
  const [first, last] = [onePage[0], onePage.at(-1)!];
  return { rate, shares, first, last, memory, verdicts, seconds, most: sizes.at(-1)! };
}

/**
 * InfluxDB's processor share, in percent of a core, that comes on top of a run's own points: of the
 * runner that watches, with one page open, with two. The guide has no runner.
 */
async function watched(
  bench: Bench,
  side: Side,
  samples: Samples,
  rate: number,
  minutes: number,
): Promise<number[]> {
  const store = await startStore(bench, side);
  const id = runOf(samples);
  const from = Math.floor(Date.now() / 1000 - minutes * 60) * 1000;
  const stop = new AbortController();
  const write = (requests: number, from: number, of?: string[]) =>
    writePoints(bench, store, samples, { requests, users: 1000, only: of, from, rate });
  try {
    bench.say(`long: ${side}, ${minutes} min stored before`);
    await write(minutes * 60 * rate, from, only);
    // All metrics, as k6 sends them, until InfluxDB's cache holds nothing else: each query copies what
    // the cache has of its metric.
    const live = goOn(stop.signal, 1000, () => write(rate, Math.floor(Date.now() / 1000) * 1000));
    await sleep(bench.quick ? 5000 : 90_000);
    const alone = await share(bench, store);
    const own = side === "ours";
    const source = { influxdb: { url: store.url, database: "k6" }, ...store.credentials };
    const seen = own ? watch(source, store.credentials.writer, id, run(id), () => {}) : undefined;
    while (seen && seen.digest.requests < minutes * 60 * rate) await sleep(500);
    const shares = [await share(bench, store)];
    const page = () => draw(store, side, id, from);
    const pages = [];
    for (let open = 1; open <= 2; open++) {
      pages.push(goOn(stop.signal, 5000, page));
      shares.push(await share(bench, store));
    }
    stop.abort();
    seen?.stop();
    await Promise.all([live, ...pages]);
    return shares.map((each) => Math.max(0, each - alone));
  } finally {
    stop.abort();
    await store.stop();
  }
}

/** Does something at a pace until it is over. */
async function goOn(over: AbortSignal, ms: number, work: () => Promise<unknown>) {
  for (let next = Date.now(); !over.aborted; next += ms) {
    await work();
    await sleep(Math.max(0, next + ms - Date.now()));
  }
}

/** What a page of the dashboard asks, on the run from its start to now. */
async function draw(store: Store, side: Side, id: string, from: number) {
  const to = Date.now();
  // A panel of some 900 pixels.
  const lengths = [1, 2, 5, 10, 15, 20, 30, 60];
  const seconds = lengths.find((each) => (to - from) / 1000 / each <= 1000) ?? 60;
  const scope = {
    where: `time >= ${from}ms and time <= ${to}ms`,
    every: { interval: `${seconds}s`, ms: `${seconds * 1000}` },
  };
  const queries = (Object.keys(guidePanels) as ToldFigure[]).flatMap((figure) =>
    side === "guide"
      ? guidePanels[figure](scope)
      : [toldFigure(figure), toldSoFar(figure)].map((text) => filled(text, id, scope)),
  );
  await Promise.all(queries.map((text) => query(store.admin, text, "k6").catch(() => undefined)));
}

async function share(bench: Bench, store: Store): Promise<number> {
  const seconds = bench.quick ? 2 : 20;
  const [before, started] = [processorSeconds(store), performance.now()];
  await sleep(seconds * 1000);
  const elapsed = (performance.now() - started) / 1000;
  return ((processorSeconds(store) - before) / elapsed) * 100;
}

function processorSeconds({ process: { pid } }: Store): number {
  const [, rest] = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ");
  const [user, system] = rest.split(" ").slice(11, 13);
  // In hundredths of a second on every Linux.
  return (Number(user) + Number(system)) / 100;
}

/** The most that InfluxDB has had in memory, in megabytes. */
const peakMegabytes = ({ process: { pid } }: Store) =>
  Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1000;

/** InfluxDB's memory at its highest while all points of so many requests come in each second, in megabytes. */
async function taken(bench: Bench, samples: Samples, rate: number): Promise<number> {
  const store = await startStore(bench, "ours");
  const over = new AbortController();
  const second = () => Math.floor(Date.now() / 1000) * 1000;
  try {
    bench.say(`long: memory at ${number(rate)} requests/s`);
    const points = { requests: rate, users: 1000, rate };
    const going = goOn(over.signal, 1000, () =>
      writePoints(bench, store, samples, { ...points, from: second() }),
    );
    await sleep(bench.quick ? 2000 : 20_000);
    over.abort();
    await going;
    return peakMegabytes(store);
  } finally {
    over.abort();
    await store.stop();
  }
}

/** How long it takes to judge so many requests, and InfluxDB's memory at its highest. */
async function judged(
  bench: Bench,
  side: Side,
  samples: Samples,
  requests: number,
): Promise<[string, string]> {
  const store = await startStore(bench, side);
  const rate = 1000;
  const from = Math.floor(Date.now() / 1000) * 1000 - (requests / rate) * 1000;
  try {
    bench.say(`long: ${side}, verdict of ${number(requests)} requests`);
    // What a runner that has watched knows.
    const id = runOf(samples);
    const digest = new Digest(id);
    let durations: Request[] = [];
    const seen = (lines: string[]) => {
      for (const line of lines) {
        if (!line.startsWith("http_req_duration")) continue;
        durations.push([
          from,
          Number(line.slice(line.lastIndexOf("=") + 1, line.lastIndexOf(" "))),
        ]);
      }
      // A digest takes many at once much quicker.
      if (durations.length < 100_000) return;
      digest.add(durations, 0, from);
      durations = [];
    };
    const points = { requests, users: 1000, only, from, rate };
    await writePoints(bench, store, samples, side === "ours" ? { ...points, seen } : points);
    digest.add(durations, 0, from);
    const started = performance.now();
    if (side === "guide") {
      const whole = `SELECT percentile("value", 95) FROM "http_req_duration"`;
      await query({ ...store.admin, seconds: 600 }, whole, "k6");
    } else {
      await judge(store, id, digest, requests, { from, to: Date.now() });
    }
    const seconds = (performance.now() - started) / 1000;
    return [number(seconds, 1), number(peakMegabytes(store))];
  } finally {
    await store.stop();
  }
}

async function judge(
  store: Store,
  id: string,
  digest: Digest,
  requests: number,
  range: { from: number; to: number },
) {
  const source = { influxdb: { url: store.url, database: "k6" }, ...store.credentials };
  const counts: Counts = {
    durationMs: requests,
    metrics: {
      http_req_duration: { type: "trend", values: { count: requests } },
      http_reqs: { type: "counter", values: { count: requests } },
    },
  };
  const asked = { counts, incomplete: new Set<string>(), range, digest };
  const { figures } = await measure(source, run(id), asked);
  if (figures.requests !== requests || !figures.p95Ms) throw new Error("not all is stored");
}
