/** How many requests a second k6 reaches, with and without an output, and how many points are lost. */
import {
  type Bench,
  median,
  number,
  type Side,
  spread,
  startStore,
  startTarget,
  value,
} from "./machine";
import { coincidences } from "../runner/proof";
import { type Count, type Load, runGuide, runOurs, runOursWithoutOutput } from "./load";

export interface Rates {
  offered: string;
  table: string[][];
  /** Our rate as a share of the rate without output: of the guide's script, and of our own. */
  share: number;
  shareOfOwn: number;
  guideShare: number;
  /** The noise: least and most share within a round, of scripts without output and of ours. */
  withinRounds: Record<"oursAlone" | "guide" | "ours", string>;
  /**
   * Requests made but not stored, over all rounds: `lost`, and those that ended in the same
   * nanosecond as another, of which InfluxDB keeps one.
   */
  lost: Record<Side, number>;
  coincided: Record<Side, number>;
}

const arms = {
  guideAlone: "the guide's script, no output",
  oursAlone: "our script, no output",
  guide: "the guide's script and output",
  ours: "our script, output and HTML report",
};
type Arm = keyof typeof arms;

interface Run extends Count {
  missing: number;
}

export async function measureRates(bench: Bench): Promise<Rates> {
  const load: Load = bench.quick
    ? { rate: 200, duration: "2s", preAllocatedVUs: 20 }
    : { rate: 20_000, duration: "8s", preAllocatedVUs: 200 };
  const runs: Record<Arm, Run[]> = { guideAlone: [], oursAlone: [], guide: [], ours: [] };
  const names = Object.keys(arms) as Arm[];
  const target = await startTarget();
  try {
    for (let round = 0; round < bench.rounds; round++) {
      // Each round begins with another one, so that none is always the first.
      for (const arm of [...names.slice(round % 4), ...names.slice(0, round % 4)]) {
        const run = await runArm(bench, arm, load, target.url);
        runs[arm].push(run);
        bench.say(`rates, round ${round + 1}: ${arms[arm]}: ${Math.round(run.perSecond)}/s`);
      }
    }
  } finally {
    await target.stop();
  }

  const rate = (arm: Arm) => median(runs[arm].map(({ perSecond }) => perSecond));
  const withinRounds = (arm: Arm) => {
    const shares = runs[arm].map((run, round) => run.perSecond / runs.guideAlone[round].perSecond);
    return `${Math.min(...shares).toFixed(2)} to ${Math.max(...shares).toFixed(2)}`;
  };
  const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);
  const lost = (arm: Arm) => sum(runs[arm].filter(hasLost).map(({ missing }) => missing));
  const coincided = (arm: Arm) => sum(runs[arm].map(({ missing }) => missing)) - lost(arm);
  const row = (arm: Arm) => [
    arms[arm],
    spread(runs[arm].map(({ perSecond }) => perSecond)),
    (rate(arm) / rate("guideAlone")).toFixed(2),
    spread(
      runs[arm].map(({ seconds }) => seconds),
      1,
    ),
    ...(arm === "guide" || arm === "ours"
      ? [lost(arm), coincided(arm)].map((n) => number(n))
      : ["", ""]),
  ];
  return {
    offered: `${load.rate} a second for ${load.duration}, ${load.preAllocatedVUs} virtual users`,
    table: [
      ["k6 runs", "requests/s", "share", "k6 takes, s", "requests lost", "coincided"],
      ...names.map(row),
    ],
    share: rate("ours") / rate("guideAlone"),
    shareOfOwn: rate("ours") / rate("oursAlone"),
    guideShare: rate("guide") / rate("guideAlone"),
    withinRounds: {
      oursAlone: withinRounds("oursAlone"),
      guide: withinRounds("guide"),
      ours: withinRounds("ours"),
    },
    lost: { guide: lost("guide"), ours: lost("ours") },
    coincided: { guide: coincided("guide"), ours: coincided("ours") },
  };
}

/** Whether more is missing than must be expected of requests that end at random moments. */
function hasLost({ missing, requests, perSecond, refused }: Run): boolean {
  const durationMs = (requests / perSecond) * 1000;
  return missing > (refused ? 0 : coincidences(requests, durationMs));
}

async function runArm(bench: Bench, arm: Arm, load: Load, targetUrl: string): Promise<Run> {
  if (arm === "guideAlone") return { ...(await runGuide(bench, load, targetUrl)), missing: 0 };
  if (arm === "oursAlone")
    return { ...(await runOursWithoutOutput(bench, load, targetUrl)), missing: 0 };
  // An empty database for each, or the later rounds would pay for the earlier ones.
  const store = await startStore(bench, arm);
  try {
    const run =
      arm === "guide"
        ? await runGuide(bench, load, targetUrl, store.url)
        : await runOurs(bench, load, targetUrl, store);
    const stored = await value(store, `SELECT sum("value") FROM "http_reqs"`);
    return { ...run, missing: run.requests - stored };
  } finally {
    await store.stop();
  }
}
