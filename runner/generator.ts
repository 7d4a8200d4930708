/** Was it us? What k6, the store and this machine did during a run, and whether k6 was short of something. */
import * as os from "node:os";
import type { Executor, Generator } from "./types";

/** What a second of a run took. Processors: 1 is all of one. */
export interface Sample {
  /** In milliseconds since 1970. */
  at: number;
  /** Share of the machine's processors that were busy. */
  machine: number;
  /** By how many milliseconds the runner looked later than it wanted to. */
  late: number;
  /** Absent where the executor cannot tell. */
  k6?: number;
  store?: number;
  /** k6's memory as a share of its limit. */
  memory?: number;
}

const pace = 1000;

/** A machine is never quite 100 % busy by its own count. */
const full = 0.95;

/** A run of a few seconds begins with k6's own start: that alone says nothing. */
const enough = { share: 0.1, seconds: 3 };

/** Looks at k6 and the machine, once a second, until it is stopped. */
export function observe(usage: NonNullable<Executor["usage"]>, pods: boolean) {
  const samples: Sample[] = [];
  let before = times();
  let due = Date.now() + pace;
  let cores = os.availableParallelism();
  const look = async () => {
    const [now, at] = [times(), Date.now()];
    const all = now.all - before.all;
    const machine = all > 0 ? (now.busy - before.busy) / all : 0;
    const late = Math.max(0, at - due);
    [before, due] = [now, at + pace];
    const { cores: given, ...used } = (await usage()) ?? {};
    if (given) cores = given;
    samples.push({ at, machine, late, ...used });
  };
  // The pods of a cluster are on other machines.
  const timer = pods ? undefined : setInterval(() => void look(), pace);
  return {
    /** Why it was short in a part of the run, if it was. Times are in milliseconds since 1970. */
    shortIn(from: number, to: number): string | undefined {
      const within = samples.filter(({ at }) => at >= from && at < to);
      return summed(within, cores, "that step")?.why;
    },
    /** @param from where what counts began */
    end(from = 0): Generator | undefined {
      clearInterval(timer);
      return summed(
        samples.filter(({ at }) => at >= from),
        cores,
      );
    },
  };
}

/** How long the machine's processors have been busy, and have been there, in milliseconds. */
function times() {
  let [busy, all] = [0, 0];
  for (const { times } of os.cpus()) {
    const total = Object.values(times).reduce((sum, each) => sum + each, 0);
    busy += total - times.idle;
    all += total;
  }
  return { busy, all };
}

const isShort = ({ machine, late, k6 = 0, store = 0 }: Sample, cores: number) =>
  machine >= full || (k6 + store) / cores >= full || late >= pace;

const mean = (values: number[]) =>
  values.length > 0 ? values.reduce((sum, each) => sum + each, 0) / values.length : undefined;

/**
 * What samples come to.
 *
 * @param cores that k6 could have had
 * @param span what they are of, in words
 */
export function summed(samples: Sample[], cores: number, span = "the run"): Generator | undefined {
  if (samples.length === 0) return undefined;
  const all = (key: "k6" | "store" | "memory", of = samples) =>
    of.flatMap((sample) => sample[key] ?? []);
  const short = samples.filter((sample) => isShort(sample, cores));
  const memory = Math.max(...all("memory"));
  const generator: Generator = {
    cores,
    k6Cores: mean(all("k6")),
    storeCores: mean(all("store")),
    machine: mean(samples.map(({ machine }) => machine))!,
    memory: memory > 0 ? memory : undefined,
    lateMs: Math.max(...samples.map(({ late }) => late)),
    short: short.length / samples.length,
  };
  const why: string[] = [];
  if (generator.short >= enough.share && short.length >= enough.seconds) {
    const k6 = mean(all("k6", short));
    const part = `for ${Math.round(generator.short * 100)} % of ${span}`;
    why.push(
      k6 !== undefined && k6 >= cores * 0.9
        ? `k6 had all of ${inWords(cores)} ${part}: its durations are its own`
        : `${inWords(cores)} of this machine were busy ${part}` +
            (k6 === undefined ? "" : `, ${k6.toFixed(1)} of them with k6`) +
            ": durations may be the machine's, not the target's",
    );
  }
  if (memory >= full) why.push(`k6 came to ${Math.round(memory * 100)} % of its memory`);
  if (why.length > 0) generator.why = why.join("; ");
  return generator;
}

const inWords = (cores: number) => (cores === 1 ? "the one core" : `${cores} cores`);
