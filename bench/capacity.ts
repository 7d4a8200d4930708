/**
 * What one InfluxDB takes and what k6 gives on this machine: the cost of each part at low load, and
 * the highest rates that are kept, with one k6 and with several.
 */
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { write } from "../runner/influxdb";
import { coincidences } from "../runner/proof";
import { type Count, type Load, type Output, runShared } from "./load";
import {
  type Bench,
  median,
  NotMeasured,
  startStore,
  startTarget,
  type Store,
  type Target,
  value,
} from "./machine";
import { type Costs, highestRate, isKept } from "./model";
import { sampleK6, type Samples } from "./points";

/** Points written at a rate, by a writer that costs next to nothing. */
export interface StoreTry {
  /** Points a second, and the bytes of one as it is written. */
  offered: number;
  pointBytes: number;
  /** Seconds that writes took: the median, and the longest. */
  write: number;
  longest: number;
  /** Seconds from when the last write was due until all was stored. */
  behind: number;
  /** InfluxDB's processor time, in seconds a second while points were offered. */
  cores: number;
  /** Cores that this machine's other work took. */
  others: number;
  kept: boolean;
}

/** A rate that k6 was asked for. */
export interface RunnerTry {
  runners: number;
  /** Whether k6 wrote to InfluxDB, or nowhere. */
  output: boolean;
  /** Requests a second: asked for, made; and of the requests made, how many are not stored. */
  offered: number;
  achieved: number;
  lost: number;
  dropped: number;
  /** Processor time of k6, target and InfluxDB, in seconds a second, without k6's start. */
  cores: number;
  /** Seconds from the end of the load until k6 had ended, over those that it takes without output. */
  behind: number;
  /** Cores that this machine's other work took. */
  others: number;
  kept: boolean;
}

/** What k6 sends by one of its outputs, at two rates. */
export interface OutputUse {
  /** Requests a second. */
  rates: [number, number];
  /** k6's processor time in seconds a second, without its start. */
  cores: [number, number];
  /** Bytes a second to where the output goes. */
  bytes: [number, number];
}

export const outputs = ["none", "influxdb", "prometheus", "opentelemetry"] as const;
export type OutputName = (typeof outputs)[number];

export interface Capacity {
  cores: number;
  seconds: number;
  virtualUsers: number;
  pointsPerRequest: number;
  /** Of a request to the target and its answer. */
  requestBytes: number;
  /** Series that k6 writes to Prometheus. */
  series: number;
  costs: Costs;
  outputs: Record<OutputName, OutputUse>;
  /** The highest rate that was kept, and the lowest above it that was not; by points a second. */
  store: StoreTry[];
  /** The same for each number of runners, with output and without. */
  runners: RunnerTry[];
}

const virtualUsers = 400;

const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);

export async function measureCapacity(bench: Bench): Promise<Capacity> {
  if (!fs.existsSync("/proc/self/stat")) throw new NotMeasured("processor time is read in /proc");
  const seconds = bench.quick ? 2 : 10;
  const target = await startTarget();
  try {
    const samples = (await sampleK6(bench)).ours;
    const lab = { bench, seconds, target, samples };
    const { start, ...low } = await measureLow(lab);
    const store = await measureStore(lab);
    const runners: RunnerTry[] = [];
    for (const count of bench.quick ? [1, 2] : [1, 2, 4]) {
      runners.push(...(await measureRunners(lab, count, start)));
    }
    const pointsPerRequest = samples.size;
    const cores = os.cpus().length;
    return { cores, seconds, virtualUsers, pointsPerRequest, ...low, store, runners };
  } finally {
    await target.stop();
  }
}

interface Lab {
  bench: Bench;
  /** How long load is made. */
  seconds: number;
  target: Target;
  samples: Samples;
}

// Processor time ----------------------------------------------------------------------------------

/** Linux counts processor time in hundredths of a second. */
const ticks = 100;

/** What a process has used; of this one, what those have used that it started and that ended. */
function used(pid: number | "ended"): number {
  const stat = fs.readFileSync(`/proc/${pid === "ended" ? "self" : pid}/stat`, "utf8");
  // After the command's name, which may have spaces: the state is the first field.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user, system] = pid === "ended" ? fields.slice(13, 15) : fields.slice(11, 13);
  return (Number(user) + Number(system)) / ticks;
}

/** What all of the machine has used. */
function busy(): number {
  const [, ...fields] = fs.readFileSync("/proc/stat", "utf8").split("\n")[0].split(/\s+/);
  const [user, nice, system, , , interrupt, softInterrupt] = fields.map(Number);
  return (user + nice + system + interrupt + softInterrupt) / ticks;
}

/** Does work, and gives what k6, the servers of these processes and everything else used meanwhile. */
async function timed<Result>(pids: number[], work: () => Promise<Result>) {
  const now = () => ({ ended: used("ended"), servers: pids.map(used), all: busy() });
  const own = process.cpuUsage();
  const [before, started] = [now(), performance.now()];
  const result = await work();
  const [after, seconds] = [now(), (performance.now() - started) / 1000];
  const { user, system } = process.cpuUsage(own);
  const servers = after.servers.map((each, index) => each - before.servers[index]);
  const k6 = after.ended - before.ended;
  const known = k6 + sum(servers) + (user + system) / 1e6;
  const others = Math.max(0, after.all - before.all - known) / seconds;
  return { result, length: seconds, k6, servers, others };
}

// k6 ----------------------------------------------------------------------------------------------

/** Makes load with so many k6, and gives what it cost. */
async function run({ bench, seconds, target }: Lab, rate: number, count: number, to?: Destination) {
  const load: Load = { rate, duration: `${seconds}s`, preAllocatedVUs: virtualUsers };
  const pids = [target.pid, ...(to?.pid ? [to.pid] : [])];
  const { result, ...use } = await timed(pids, () =>
    runShared(bench, load, target.url, count, to?.output),
  );
  const test = (each: Count) => each.requests / each.perSecond;
  return {
    ...use,
    counts: result,
    requests: sum(result.map(({ requests }) => requests)),
    achieved: sum(result.map(({ perSecond }) => perSecond)),
    dropped: sum(result.map(({ dropped }) => dropped)),
    bytes: sum(result.map(({ bytes }) => bytes)),
    /** Seconds that k6 took besides its test: to start, and to write what it had left. */
    besides: Math.max(...result.map((each) => each.seconds - test(each))),
  };
}

/** Where k6 writes to. */
interface Destination {
  output: Output;
  pid?: number;
}

const toInfluxDb = (store: Store): Destination => ({
  output: {
    args: ["--out", `influxdb=${store.url}/k6`, "--tag", "testid=scale"],
    env: {
      K6_INFLUXDB_USERNAME: store.credentials.writer.username,
      K6_INFLUXDB_PASSWORD: store.credentials.writer.password,
    },
  },
  pid: store.process.pid,
});

/** A server that takes whatever is sent, and counts its bytes. */
async function startSink() {
  let bytes = 0;
  const server = http.createServer((request, response) => {
    request.on("data", (chunk: Buffer) => (bytes += chunk.length));
    request.on("end", () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    bytes: () => bytes,
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** k6's own outputs that send histograms instead of points, once a second as InfluxDB's does. */
const histogramOutputs = (host: string): Record<"prometheus" | "opentelemetry", Output> => ({
  prometheus: {
    // It tells the number of series.
    args: ["--out", "experimental-prometheus-rw", "--verbose"],
    env: {
      K6_PROMETHEUS_RW_SERVER_URL: `http://${host}/api/v1/write`,
      K6_PROMETHEUS_RW_PUSH_INTERVAL: "1s",
      K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM: "true",
    },
  },
  opentelemetry: {
    args: ["--out", "opentelemetry"],
    env: {
      K6_OTEL_EXPORTER_PROTOCOL: "http/protobuf",
      K6_OTEL_HTTP_EXPORTER_INSECURE: "true",
      K6_OTEL_HTTP_EXPORTER_ENDPOINT: host,
      K6_OTEL_EXPORT_INTERVAL: "1s",
      OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION:
        "base2_exponential_bucket_histogram",
    },
  },
});

// Low load ----------------------------------------------------------------------------------------

/**
 * What the parts cost at two low rates: what is left of the lower one's cost goes to each second. What
 * k6 takes to start, and with one request a second, is left out.
 */
async function measureLow(lab: Lab) {
  const { bench, seconds, samples } = lab;
  const rates: [number, number] = bench.quick ? [100, 200] : [1000, 3000];
  const uses = Object.fromEntries(
    outputs.map((name) => [name, { rates, cores: [], bytes: [] }]),
  ) as unknown as Record<OutputName, OutputUse>;
  const target: number[] = [];
  const store: number[] = [];
  let requestBytes = 0;
  let series = 0;
  const starts: number[] = [];
  for (let round = 0; round < bench.rounds; round++) {
    starts.push((await lowRun(lab, 1, "none")).k6);
  }
  for (const [at, rate] of rates.entries()) {
    for (const name of outputs) {
      const rounds: { k6: number; bytes: number }[] = [];
      const servers: number[][] = [];
      for (let round = 0; round < bench.rounds; round++) {
        const done = await lowRun(lab, rate, name);
        const k6 = Math.max(0, done.k6 - median(starts)) / seconds;
        rounds.push({ k6, bytes: done.sent / seconds });
        servers.push(done.servers.map((each) => each / seconds));
        requestBytes = done.bytes / done.requests;
        series = Math.max(series, ...done.counts.map((count) => count.series));
        bench.say(`low load: ${name}, ${rate}/s, other work ${done.others.toFixed(2)} cores`);
      }
      uses[name].cores[at] = median(rounds.map(({ k6 }) => k6));
      uses[name].bytes[at] = median(rounds.map(({ bytes }) => bytes));
      if (name === "none") target[at] = median(servers.map(([of]) => of));
      if (name === "influxdb") store[at] = median(servers.map(([, of]) => of));
    }
  }
  const none = line(rates, uses.none.cores);
  const points = line(rates, uses.influxdb.cores);
  const stored = line(rates, store);
  const costs: Costs = {
    runner: {
      second: none.still,
      request: none.each,
      point: Math.max(0, points.each - none.each) / samples.size,
    },
    target: { request: line(rates, target).each },
    store: { second: stored.still, point: stored.each / samples.size },
  };
  return { costs, outputs: uses, requestBytes, series, start: median(starts) };
}

/** One k6 at a low rate; `sent` are the bytes that it sent to another place than InfluxDB. */
async function lowRun(lab: Lab, rate: number, name: OutputName) {
  const sink = await startSink();
  const store = name === "influxdb" ? await startStore(lab.bench, "ours") : undefined;
  const to: Record<OutputName, () => Destination | undefined> = {
    none: () => undefined,
    influxdb: () => toInfluxDb(store!),
    prometheus: () => ({ output: histogramOutputs(sink.host).prometheus }),
    opentelemetry: () => ({ output: histogramOutputs(sink.host).opentelemetry }),
  };
  try {
    return { ...(await run(lab, rate, 1, to[name]())), sent: sink.bytes() };
  } finally {
    await store?.stop();
    sink.stop();
  }
}

/** Processor time of one request more, in seconds. */
export const perRequest = ({ rates, cores }: OutputUse) => line(rates, cores).each;

/** The straight line through what two rates cost: what each costs, and what is left without any. */
function line(rates: [number, number], costs: number[]) {
  const each = (costs[1] - costs[0]) / (rates[1] - rates[0]);
  return { each, still: Math.max(0, costs[0] - each * rates[0]) };
}

// The highest rates -------------------------------------------------------------------------------

/** The try at the highest rate that was kept, and at the lowest that was not. */
async function edge<Try extends { offered: number; others: number; kept: boolean }>(
  bench: Bench,
  work: (rate: number) => Promise<Try>,
  from: number,
  step: number,
): Promise<Try[]> {
  const tries = new Map<number, Try>();
  const highest = await highestRate(
    async (rate) => {
      let done = await work(rate);
      // Other work may have come in between.
      if (!done.kept) done = await work(rate);
      tries.set(rate, done);
      return done.kept && !bench.quick;
    },
    from,
    step,
  );
  const rates = [...tries.keys()].sort((a, b) => a - b);
  return rates
    .filter((rate, at) => rate === highest || at === rates.indexOf(highest) + 1)
    .map((rate) => tries.get(rate)!);
}

/** With so many k6: the rates without an output, and those with InfluxDB. */
async function measureRunners(lab: Lab, count: number, start: number): Promise<RunnerTry[]> {
  const { bench } = lab;
  const besides: number[] = [];
  const attempt = async (offered: number, store?: Store): Promise<RunnerTry> => {
    const done = await run(lab, offered, count, store && toInfluxDb(store));
    const { achieved, dropped, others } = done;
    const stored = store && (await value(store, `SELECT sum("value") FROM "http_reqs"`));
    const lost = done.requests - (stored ?? done.requests);
    // InfluxDB keeps one of two points with the same nanosecond and the same tags.
    const durationMs = lab.seconds * 1000;
    const coincided = done.counts.map(({ requests }) => coincidences(requests, durationMs));
    if (!store) besides.push(done.besides);
    const behind = store ? Math.max(0, done.besides - median(besides)) : 0;
    const kept = isKept({ dropped, behind }) && lost <= sum(coincided);
    bench.say(
      `runners: ${count}, ${store ? "InfluxDB" : "no output"}, ${offered}/s: ` +
        `${Math.round(achieved)}/s, ${dropped} dropped, ${behind.toFixed(1)} s behind, ` +
        `other work ${others.toFixed(2)} cores`,
    );
    return {
      ...{ runners: count, output: store !== undefined, offered, achieved, lost, dropped },
      // Each k6 makes its part of the virtual users, so together they take no longer to start.
      cores: (done.k6 - start + sum(done.servers)) / lab.seconds,
      ...{ behind, others, kept },
    };
  };
  // An empty database for each, or the later ones would pay for the earlier.
  const withStore = async (offered: number) => {
    const store = await startStore(bench, "ours");
    return attempt(offered, store).finally(() => store.stop());
  };
  const [from, step] = bench.quick ? [200, 100] : [4000, 1000];
  return [
    ...(await edge(bench, (rate) => attempt(rate), from, step)),
    ...(await edge(bench, withStore, from, step)),
  ];
}

async function measureStore(lab: Lab): Promise<StoreTry[]> {
  const { bench } = lab;
  const attempt = async (offered: number) => {
    const store = await startStore(bench, "ours");
    return offer(lab, store, offered).finally(() => store.stop());
  };
  return edge(bench, attempt, bench.quick ? 2000 : 100_000, bench.quick ? 1000 : 25_000);
}

/** So many points a second, and what InfluxDB made of them. */
async function offer(lab: Lab, store: Store, pointsPerSecond: number): Promise<StoreTry> {
  const { bench, seconds, samples } = lab;
  const requests = Math.round(pointsPerSecond / samples.size);
  const offered = requests * samples.size;
  const body = bodyOf(samples, requests);
  const first = Math.floor(Date.now() / 1000) - seconds;
  const { result, servers, length, others } = await timed([store.process.pid!], () =>
    writeEachSecond(lab, store, (second) => body(first + second)),
  );
  const stored = await value(store, `SELECT count("value") FROM "http_reqs"`);
  if (stored !== requests * seconds) {
    throw new Error(`InfluxDB holds ${stored} of ${requests * seconds} requests that it took`);
  }
  const { took, behind } = result;
  const write = median(took);
  bench.say(
    `store: ${offered} points/s: a write takes ${write.toFixed(2)} s, ${behind.toFixed(2)} s ` +
      `behind, other work ${others.toFixed(2)} cores`,
  );
  return {
    ...{ offered, pointBytes: body(first).length / offered },
    ...{ write, longest: Math.max(...took), behind, cores: servers[0] / length, others },
    kept: isKept({ dropped: 0, behind: Math.max(write, behind) }),
  };
}

/**
 * Writes once a second, by no more than four writes at once, as k6 does. Gives how long each took and
 * how long after the last one was due all was stored, in seconds.
 */
async function writeEachSecond(
  { bench, seconds }: Lab,
  store: Store,
  body: (second: number) => Uint8Array<ArrayBuffer>,
) {
  const took: number[] = [];
  const writing = new Set<Promise<void>>();
  const started = performance.now();
  const since = (ms: number) => (performance.now() - ms) / 1000;
  for (let second = 0; second < seconds; second++) {
    await sleep(started + second * 1000 - performance.now());
    bench.signal.throwIfAborted();
    while (writing.size >= 4) await Promise.race(writing);
    const from = performance.now();
    const one: Promise<void> = write(store.writer, "k6", body(second)).then(() => {
      took.push(since(from));
      writing.delete(one);
    });
    // Whoever waits for it hears of its failure.
    one.catch(() => undefined);
    writing.add(one);
  }
  await Promise.all(writing);
  return { took, behind: since(started + (seconds - 1) * 1000) };
}

/**
 * A second's points as k6 writes them, all in one body. Made once: then only the seconds of their
 * times change, so that the writer takes no processor time from InfluxDB.
 */
function bodyOf(samples: Samples, requests: number) {
  const lines: string[] = [];
  for (let index = 0; index < requests; index++) {
    // A run ends its requests at odd moments.
    const ns = String(Math.floor(((index + Math.random()) / requests) * 1e9)).padStart(9, "0");
    for (const pieces of samples.values()) {
      lines.push(`${pieces[index % pieces.length].join("")}0000000000${ns}`);
    }
  }
  const body = Buffer.from(lines.join("\n"));
  const at: number[] = [];
  for (let end = -1; end < body.length;) {
    const next = body.indexOf("\n", end + 1);
    end = next < 0 ? body.length : next;
    at.push(end - 19);
  }
  return (second: number) => {
    const digits = Buffer.from(String(second).padStart(10, "0"));
    for (const position of at) digits.copy(body, position);
    return new Uint8Array(body);
  };
}
