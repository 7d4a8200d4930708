/**
 * What a run needs of memory and disk, by its profile: one request an iteration. Own scripts have the
 * default profile, which needs the least.
 */
import { arrivalRate, iterationsOf, type LoadProfile } from "../k6/profile";

/** MiB of the twelve durations of every request that k6 keeps to its end (metrics/sink.go), with room to grow. */
const durationsKept = (profile: LoadProfile) => (iterationsOf(profile) * 12 * 8 * 1.5) / 2 ** 20;

/**
 * The MiB that one of so many k6 may take: per virtual user what its documentation says of simple scripts
 * (1 to 5 MB), and what it keeps of every request.
 */
export const k6Memory = (profile: LoadProfile, runners = 1) =>
  Math.round(1024 + 5 * Math.ceil(profile.maxVUs / runners) + durationsKept(profile) / runners);

/**
 * The MiB that InfluxDB may take. How much is stored already does not matter; how much comes in a second
 * does: it took 0.2 to 0.8 GB at 5,000 to 20,000 requests a second (docs/benchmarks.md, docs/decisions.md). The rest
 * is for the queries and the series that `influxDbSettings` allows.
 */
export const storeMemory = (profile: LoadProfile) =>
  Math.round(2048 + Math.max(0, arrivalRate(profile) - 5000) / 10);

/** The bytes without which a run's servers, its k6 and what they keep have no room. */
export function leastOf(profile: LoadProfile): { memory: number; disk: number } {
  const perSecond = arrivalRate(profile) / 10;
  return {
    memory: (1024 + perSecond + durationsKept(profile)) * 2 ** 20,
    // Images and the data of a stack with the default images; a request as it comes, before InfluxDB
    // has compacted it.
    disk: 3e9 + iterationsOf(profile) * 200,
  };
}
