/** k6 as the guide starts it and as the stack does, at a load that both take from here. */
import * as fs from "node:fs";
import * as path from "node:path";
import { defaultProfile, defaultThresholds, type LoadProfile } from "../k6/profile";
import { root } from "../root";
import { keepSummary } from "../runner/counts";
import { declaredBy, optionsFor } from "../runner/declared";
import { newMark, runEntry, takeTold } from "../runner/entry";
import { executorFor } from "../runner/executor";
import type { RunRequest } from "../runner/types";
import { type Bench, finished, type Store } from "./machine";

export type Load = Pick<LoadProfile, "rate" | "duration" | "preAllocatedVUs">;

export const ourScript = "k6/coupon-issue.ts";

/** Our scenario at this load: all that k6 may use is made before it starts. */
export const profile = (load: Load): LoadProfile => ({
  ...defaultProfile,
  ...load,
  timeUnit: "1s",
  maxVUs: load.preAllocatedVUs,
});

/** What k6's own summary counts. */
export interface Count {
  requests: number;
  perSecond: number;
  /** Iterations that no virtual user was free for. */
  dropped: number;
  /** What went over the network to the target and back. */
  bytes: number;
  /** Series that it wrote to Prometheus, by its log; 0 if it wrote none, or is not verbose. */
  series: number;
  /** From the start of k6 to its end, when all points are out. */
  seconds: number;
  /** Whether InfluxDB refused a write, by k6's log. */
  refused: boolean;
}

/** The guide's script with another load and target, and nothing else changed. */
export function guideScript(load: Load, targetUrl: string): string {
  const { rate, timeUnit, duration, preAllocatedVUs, maxVUs } = profile(load);
  let text = fs.readFileSync(path.join(root, "bench/guide/k6-coupon-issue.js"), "utf8");
  for (const [from, to] of [
    [/rate: \d+/, `rate: ${rate}`],
    [/timeUnit: '\w+'/, `timeUnit: '${timeUnit}'`],
    [/duration: '\w+'/, `duration: '${duration}'`],
    [/preAllocatedVUs: \d+/, `preAllocatedVUs: ${preAllocatedVUs}`],
    [/maxVUs: \d+/, `maxVUs: ${maxVUs}`],
    [/baseUrl = '[^']+'/, `baseUrl = '${targetUrl}'`],
  ] as const) {
    if (!from.test(text)) throw new Error(`the guide's script has no ${from}`);
    text = text.replace(from, to);
  }
  return text;
}

/** The guide's way: `k6 run --out influxdb=... script`. */
export async function runGuide(
  bench: Bench,
  load: Load,
  targetUrl: string,
  influxDbUrl?: string,
): Promise<Count> {
  const dir = fs.mkdtempSync(path.join(bench.folder, "k6-"));
  const script = path.join(dir, "k6-coupon-issue.js");
  fs.writeFileSync(script, guideScript(load, targetUrl));
  const out = influxDbUrl ? ["--out", `influxdb=${influxDbUrl}/k6`] : [];
  return counted(dir, (log) => finished(bench.k6, k6Run(dir, ...out, script), log, bench.signal));
}

/** Where k6 sends what it measures: the arguments and the environment for it. */
export interface Output {
  args: string[];
  env: NodeJS.ProcessEnv;
}

/** Our script with nothing but k6's own summary. */
export async function runOursWithoutOutput(bench: Bench, load: Load, url: string): Promise<Count> {
  const [count] = await runShared(bench, load, url, 1);
  return count;
}

/** Our script, no HTML report, shared by several k6 at once as the k6 operator shares it. */
export function runShared(
  bench: Bench,
  load: Load,
  url: string,
  runners: number,
  output: Output = { args: [], env: {} },
): Promise<Count[]> {
  const variables = [
    `BASE_URL=${url}`,
    `PROFILE=${JSON.stringify(profile(load))}`,
    `THRESHOLDS=${JSON.stringify(defaultThresholds)}`,
  ].flatMap((each) => ["--env", each]);
  const parts = Array.from({ length: runners + 1 }, (_, index) => `${index}/${runners}`);
  const run = (_: unknown, index: number) => {
    const dir = fs.mkdtempSync(path.join(bench.folder, "k6-"));
    const segment = ["--execution-segment", `${parts[index]}:${parts[index + 1]}`];
    const sequence = ["--execution-segment-sequence", parts.join(",")];
    const tag = ["--tag", `instance_id=${index + 1}`];
    const args = k6Run(dir, ...variables, ...segment, ...sequence, ...tag, ...output.args);
    // Several k6 would want the same port for their API.
    args.push("--address", "127.0.0.1:0", ourScript);
    return counted(dir, (log) => finished(bench.k6, args, log, bench.signal, output.env));
  };
  return Promise.all(Array.from({ length: runners }, run));
}

/** Our way: by the stack's own runner, HTML report included. */
export async function runOurs(
  bench: Bench,
  load: Load,
  targetUrl: string,
  store: Pick<Store, "url" | "credentials">,
): Promise<Count> {
  const dir = fs.mkdtempSync(path.join(bench.folder, "k6-"));
  const request: RunRequest = {
    stack: "bench",
    runId: "",
    script: ourScript,
    scriptHash: "",
    profile: profile(load),
    thresholds: defaultThresholds,
    baseline: "",
    maxRegression: [],
    routeLimits: [],
    starvedGenerator: "warn",
    allowedHosts: [],
    maxSeries: 1000,
    executor: { kind: "local", binary: bench.k6 },
    target: { url: targetUrl, version: "" },
    influxdb: { url: store.url, database: "k6" },
  };
  const executor = executorFor(request, store.credentials);
  return counted(dir, async () => {
    const [id, mark] = ["bench-20260101T000000Z", newMark()];
    const entry = runEntry(mark, optionsFor(declaredBy("{}", []), id));
    const [{ exitCode }] = await executor.run(id, dir, entry, bench.signal);
    keepSummary(dir, takeTold(dir, mark)[0]);
    return exitCode;
  });
}

const k6Run = (dir: string, ...args: string[]) => [
  ...["run", "--summary-export", path.join(dir, "k6-summary.json"), "--no-usage-report"],
  ...args,
];

async function counted(dir: string, run: (log: string) => Promise<number>): Promise<Count> {
  const log = path.join(dir, "k6.log");
  const started = performance.now();
  const code = await run(log);
  const seconds = (performance.now() - started) / 1000;
  // 99: a threshold was breached. At a load above what k6 reaches, iterations are dropped.
  if (code !== 0 && code !== 99) {
    throw new Error(`k6 ended with exit code ${code}: ${fs.readFileSync(log, "utf8").slice(-500)}`);
  }
  const said = fs.readFileSync(log, "utf8");
  const refused = said.includes("Couldn't write stats");
  const series = Math.max(
    0,
    ...[...said.matchAll(/ nts=(\d+)/g)].map(([, count]) => Number(count)),
  );
  const summary = fs.readFileSync(path.join(dir, "k6-summary.json"), "utf8");
  const { http_reqs, dropped_iterations, data_sent, data_received } = JSON.parse(summary).metrics;
  fs.rmSync(dir, { recursive: true });
  return {
    requests: http_reqs.count,
    perSecond: http_reqs.rate,
    dropped: dropped_iterations?.count ?? 0,
    bytes: data_sent.count + data_received.count,
    ...{ series, seconds, refused },
  };
}
