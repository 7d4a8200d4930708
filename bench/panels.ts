/** How long each panel's query takes over a million stored requests. */
import {
  durationMean,
  durationPercentile,
  requestCount,
  requestRate,
  type Intervals,
} from "../dashboards/queries";
import { query } from "../runner/influxdb";
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

export const panels: Record<string, Record<Side, (scope: Intervals) => string>> = {
  p99: {
    guide: (scope) => guidePanel(`percentile("value", 99)`, "http_req_duration", scope),
    ours: (scope) => durationPercentile(99, scope),
  },
  p95: {
    guide: (scope) => guidePanel(`percentile("value", 95)`, "http_req_duration", scope),
    ours: (scope) => durationPercentile(95, scope),
  },
  avg: {
    guide: (scope) => guidePanel(`mean("value")`, "http_req_duration", scope),
    ours: (scope) => durationMean(scope),
  },
  RPS: {
    guide: (scope) =>
      guidePanel(`derivative(mean("value"), 1s) AS "throughput"`, "http_reqs", scope),
    ours: (scope) => requestRate(scope),
  },
};

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
    return await timePanels(bench, stores, points);
  } finally {
    await Promise.all(stores.map((store) => store.stop()));
  }
}

async function timePanels(
  bench: Bench,
  stores: Store[],
  { requests, from, rate }: ReturnType<typeof stored>,
): Promise<Panels> {
  const where = `time >= ${from}ms and time <= ${from + (requests / rate) * 1000}ms`;
  const table = [["panel", "interval", "guide, ms", "ours, ms", "times faster"]];
  const gains: number[] = [];
  const sums: Record<Side, number> = { guide: 0, ours: 0 };
  for (const [interval, ms] of Object.entries(intervals)) {
    for (const [panel, queries] of Object.entries(panels)) {
      const times: Record<Side, number[]> = { guide: [], ours: [] };
      for (let round = -1; round < bench.rounds; round++) {
        for (const store of round % 2 ? stores : [...stores].reverse()) {
          bench.signal.throwIfAborted();
          const statement = queries[store.side]({ where, every: { interval, ms } });
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
