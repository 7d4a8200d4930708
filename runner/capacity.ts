/** Finds the highest rate that a target keeps within its limits: rises step by step, then holds it. */
import { setTimeout as sleep } from "node:timers/promises";
import { firstIteration, type Scope } from "../dashboards/queries";
import { durationSeconds, type LoadProfile, ratesOf, type Search, steady } from "../k6/profile";
import type { Counts } from "./counts";
import { query } from "./influxdb";
import { judge } from "./judge";
import type { Range } from "./parts";
import type { Watch } from "./progress";
import { breach, notMeasured } from "./report";
import { RunFailure, type RunRequest } from "./types";
import { measure, type Source } from "./verify";

/** k6 writes a second's points at once, and InfluxDB takes its time. */
const grace = 3000;

/** How many rates are tried to be held, the highest first. */
const holds = 3;

/** Share of the iterations begun that must end where a rate holds. */
const enough = 0.95;

/** The folder of the k6 whose rate rises, in that of the run. */
export const rising = "rise";

/** One k6 that runs to find a capacity. */
export interface Phase {
  profile: LoadProfile;
  /** Where its files go, within the run's folder. */
  name: string;
  /** Ends it before its time. */
  enough?: AbortSignal;
}

/** What a search has at hand. */
export interface Searching {
  source: Source;
  /** The run's requests. */
  scope: Scope;
  request: RunRequest;
  watched: Pick<Watch, "digest">;
  run(phase: Phase): Promise<void>;
  /** Why the generator was short in a part of the run, if it was. */
  shortIn(from: number, to: number): string | undefined;
  say(line: string): void;
}

/** What was found, and where the steady hold that confirmed it began. */
export interface Capacity {
  /** Iterations a second. */
  rate: number;
  /** What broke at which rate, in a line. */
  why: string;
  heldFrom: number;
}

/** @throws RunFailure when no rate held, or when the generator was short before the target broke */
export async function findCapacity(search: Search, at: Searching): Promise<Capacity> {
  const held: number[] = [];
  const why = await rise(search, at, held);
  if (held.length === 0) throw new RunFailure(`the first step does not hold: ${why}`);
  for (const rate of held.toReversed().slice(0, holds)) {
    // What the rate before has left in queues is worked off meanwhile.
    await sleep(grace);
    at.say(`${rate}/s is held for ${search.hold}`);
    const since = Date.now();
    await at.run({
      profile: steady(at.request.profile, rate, search.hold),
      name: `hold-${rate}`,
    });
    const from = (await begun(at, since)) ?? since;
    const to = from + milliseconds(search.hold);
    const broken = await brokenIn(at, rate, { from, to });
    if (broken.length === 0) return { rate, why, heldFrom: from };
    requireGenerator(at, { rate, from, to }, held);
    at.say(`${rate}/s does not hold: ${broken.join(", ")}`);
  }
  throw new RunFailure(`what held for a step holds not for ${search.hold}; ${why}`);
}

/**
 * Rises until a step does not hold.
 *
 * @param held gets the rates that did
 * @returns what broke at which rate
 */
async function rise(search: Search, at: Searching, held: number[]): Promise<string> {
  const stop = new AbortController();
  const since = Date.now();
  let over = false;
  const { profile } = at.request;
  const k6 = at.run({ profile, name: rising, enough: stop.signal });
  k6.finally(() => (over = true)).catch(() => undefined);
  const until = async (time: number) => {
    while (!over && Date.now() < time) await sleep(200);
  };
  try {
    let first: number | undefined;
    while (!over && (first = await begun(at, since)) === undefined) await until(Date.now() + 500);
    const step = milliseconds(search.step);
    let from = first ?? since;
    for (const rate of ratesOf(search)) {
      const to = from + step;
      await until(to + grace);
      if (over && Date.now() < to) throw new RunFailure("k6 ended before the search was over");
      const broken = await brokenIn(at, rate, { from, to });
      if (broken.length > 0) {
        requireGenerator(at, { rate, from, to }, held);
        return `at ${rate}/s ${broken.join(", ")}`;
      }
      held.push(rate);
      at.say(`${rate}/s holds`);
      from = to;
    }
    return "nothing broke up to the end of the search";
  } finally {
    stop.abort();
    await k6;
  }
}

/** @throws RunFailure when it was the generator that was short while a rate did not hold */
function requireGenerator(
  { shortIn }: Searching,
  { rate, from, to }: { rate: number } & Range,
  held: number[],
) {
  const short = shortIn(from, to);
  if (!short) return;
  const kept = held.filter((each) => each < rate).at(-1);
  const best = kept === undefined ? "" : `; ${kept}/s held`;
  throw new RunFailure(
    `the generator gave up at ${rate}/s, before the target did: ${short}${best}`,
  );
}

/** When the first iteration began that ended since a time; `undefined` if there is none yet. */
async function begun({ source, scope }: Searching, since: number): Promise<number | undefined> {
  const { influxdb, reader } = source;
  const where = `${scope.where} AND time >= ${since}ms`;
  const connection = { url: influxdb.url, ...reader };
  const [[series]] = await query(connection, firstIteration({ where }), influxdb.database);
  const [time, duration] = series?.values[0] ?? [];
  return time === undefined ? undefined : Math.floor(Number(time) - Number(duration));
}

/** Why a rate did not hold in a part of the run, in words; empty if it held. */
async function brokenIn(
  { source, scope, request, watched }: Searching,
  rate: number,
  range: Range,
): Promise<string[]> {
  const { from, to } = range;
  const where = `${scope.where} AND time >= ${from}ms AND time < ${to}ms`;
  const counts: Counts = { metrics: {}, durationMs: to - from };
  const incomplete = new Set<string>();
  const { digest } = watched;
  const { figures } = await measure(source, { where }, { counts, incomplete, range, digest });
  const judged = judge(request, figures, counts, incomplete).filter(({ passed }) => !passed);
  const broken = judged.map((rule) => (rule.value === undefined ? notMeasured : breach)(rule));

  // One that queues up may still answer in time, for a while: more begin than end.
  const { influxdb, reader } = source;
  const ended = `SELECT count("value"), min("value") FROM "iteration_duration" WHERE ${where}`;
  const [[series]] = await query({ url: influxdb.url, ...reader }, ended, influxdb.database);
  const [, count, least] = (series?.values[0] ?? [0, 0, 0]).map(Number);
  const each = (1000 * count) / Math.max(1, to - from - least);
  if (each < enough * rate) broken.push(`only ${each.toFixed(1)}/s of ${rate}/s came to their end`);
  return broken;
}

const milliseconds = (duration: string) => durationSeconds(duration)! * 1000;
