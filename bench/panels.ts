/** How long each panel's query takes over a million stored requests. */
import {
  allRoutes,
  type Intervals,
  requestCount,
  run,
  toldFigure,
  type ToldFigure,
} from "../dashboards/queries";
import { query } from "../runner/influxdb";
import { watch } from "../runner/progress";
import { compactAtOnce, settled } from "./cardinality";
import {
  type Bench,
  median,
  number,
  type Side,
  spread,
  startStore,
  type Store,
  value,
} from "./machine";
import { type Samples, writePoints } from "./points";

export interface Panels {
  requests: number;
  table: string[][];
  /** How many times faster ours is: the panel that gained least, and all four together. */
  least: number;
  together: number;
}

/** The guide's queries, as it has them. */
const guidePanel = (select: string, measurement: string, { where, every }: Intervals) =>
  `SELECT ${select} FROM "${measurement}" WHERE ${where} ` +
  `GROUP BY time(${every.interval}) fill(null)`;

export const guidePanels: Record<ToldFigure, (scope: Intervals) => string> = {
  p99: (scope) => guidePanel(`percentile("value", 99)`, "http_req_duration", scope),
  p95: (scope) => guidePanel(`percentile("value", 95)`, "http_req_duration", scope),
  avg: (scope) => guidePanel(`mean("value")`, "http_req_duration", scope),
  rps: (scope) => guidePanel(`derivative(mean("value"), 1s) AS "throughput"`, "http_reqs", scope),
};

/** The text that Grafana makes of a query of ours, of one run. */
export const filled = (text: string, id: string, { where, every }: Intervals) =>
  text
    .replaceAll("${testid:regex}", id)
    .replaceAll("${name:regex}", allRoutes)
    .replaceAll("$timeFilter", where)
    .replaceAll("$__interval_ms", every.ms)
    .replaceAll("$__interval", every.interval);

/** The run that the lines of a sample belong to. */
export const runOf = (samples: Samples) =>
  /testid=([^, ]+)/.exec(samples.get("http_reqs")![0].join(""))?.[1] ?? "";

/** A panel of some 900 pixels gets a point a second of 1,000 seconds; 10 s is what people choose. */
const intervals = { "1s": "1000", "10s": "10000" };

/** The run that is looked at: 1,000 requests a second for 1,000 seconds, with the guide's users. */
export const stored = (quick: boolean) => ({
  requests: quick ? 10_000 : 1_000_000,
  users: quick ? 100 : 1000,
  only: ["http_req_duration", "http_reqs"],
  from: Math.floor(Date.now() / 1e6) * 1e6 - 2_000_000,
  rate: 1000,
});

export async function measurePanels(bench: Bench, samples: Record<Side, Samples>): Promise<Panels> {
  const points = stored(bench.quick);
  const stores: Store[] = [];
  try {
    for (const side of ["guide", "ours"] as const) {
      const store = await startStore(bench, side, compactAtOnce);
      stores.push(store);
      bench.say(`panels: storing ${number(points.requests)} requests: ${side}`);
      await writePoints(bench, store, samples[side], points);
      await settled(bench, store);
      const count = await value(store, requestCount({ where: "time > 0" }));
      if (count !== points.requests) throw new Error(`${side}: only ${count} requests are stored`);
    }
    const [, ours] = stores;
    const id = runOf(samples.ours);
    bench.say("panels: having the runner tell what it saw");
    const source = { influxdb: { url: ours.url, database: "k6" }, ...ours.credentials };
    await watch(source, ours.credentials.writer, id, run(id), () => undefined).end();
    return await timePanels(bench, stores, id, points);
  } finally {
    await Promise.all(stores.map((store) => store.stop()));
  }
}

async function timePanels(
  bench: Bench,
  stores: Store[],
  id: string,
  { requests, from, rate }: ReturnType<typeof stored>,
): Promise<Panels> {
  const where = `time >= ${from}ms and time <= ${from + (requests / rate) * 1000}ms`;
  const table = [["panel", "interval", "guide, ms", "ours, ms", "times faster"]];
  const gains: number[] = [];
  const sums: Record<Side, number> = { guide: 0, ours: 0 };
  for (const [interval, ms] of Object.entries(intervals)) {
    for (const panel of Object.keys(guidePanels) as ToldFigure[]) {
      const times: Record<Side, number[]> = { guide: [], ours: [] };
      for (let round = -1; round < bench.rounds; round++) {
        for (const store of round % 2 ? stores : [...stores].reverse()) {
          bench.signal.throwIfAborted();
          const scope = { where, every: { interval, ms } };
          const statement =
            store.side === "guide"
              ? guidePanels[panel](scope)
              : filled(toldFigure(panel), id, scope);
          const started = performance.now();
          await query(store.admin, statement, "k6");
          if (round >= 0) times[store.side].push(performance.now() - started);
        }
      }
      const [guide, ours] = [median(times.guide), median(times.ours)];
      gains.push(guide / ours);
      sums.guide += guide;
      sums.ours += ours;
      const gain = (guide / ours).toFixed(1);
      table.push([panel, interval, spread(times.guide), spread(times.ours), gain]);
      bench.say(`panels, ${panel} every ${interval}: ${gain} times faster`);
    }
  }
  return { requests, table, least: Math.min(...gains), together: sums.guide / sums.ours };
}
