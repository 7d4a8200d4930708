/**
 * What becomes of a load: a simulation of runners, target and store, with what each costs as measured
 * at low load. Time goes in steps, amounts are fractions, nothing is random.
 */

/** Processor time, in seconds. */
export interface Costs {
  /** Of a k6: each second that it runs, each request, each point that it writes. */
  runner: { second: number; request: number; point: number };
  /** Of the target, each request. */
  target: { request: number };
  /** Of the store, each second that it runs, each point that it takes. */
  store: { second: number; point: number };
}

export interface Setting {
  costs: Costs;
  runners: number;
  /**
   * Cores of each runner's machine, and of the store's; the target is on others. Or those of the one
   * machine that they share with the target.
   */
  cores: { runner: number; store: number } | { shared: number };
  /** Requests a second, over all runners, and for how many seconds. */
  offered: number;
  seconds: number;
  /** Virtual users, over all runners: so many requests may be under way. */
  virtualUsers: number;
  /** Points that a request is, 0 without a store. */
  pointsPerRequest: number;
  /** How many points become one before they reach the store. */
  aggregation?: number;
}

export interface Outcome {
  /** Requests a second that were made. */
  achieved: number;
  /** Requests that no virtual user was free for. */
  dropped: number;
  /** Processor time that all of it took, in seconds for each second of the load. */
  cores: number;
  /** Share of the points made that were stored when the load ended. */
  storedInTime: number;
  /** Seconds from the end of the load until all was stored. */
  behind: number;
  /** Whether the offered rate was kept, see `isKept`. */
  kept: boolean;
}

/** k6 writes once a second, and no more than four times at once. */
const flushSeconds = 1;
const concurrentWrites = 4;
const step = 0.01;
/** Longer than this nobody waits for a store. */
const patience = 600;

/** What is sent once a second is also stored within a second: the queue does not grow. */
export const isKept = ({ dropped, behind }: { dropped: number; behind: number }) =>
  dropped < 1 && behind <= flushSeconds;

/** What is to be done on a machine, by no more than so many cores at once. */
interface Work {
  machine: Machine;
  left: number;
  most: number;
}

interface Machine {
  cores: number;
}

/** A write, as it is made of points, and as it is stored. */
interface Write {
  points: number;
  making: Work;
  storing: Work;
}

interface Runner {
  machine: Machine;
  requests: Work;
  /** Made by requests, but in no write yet. */
  points: number;
  due: number;
  writes: Write[];
}

export function simulate(setting: Setting): Outcome {
  const { costs, cores, offered, seconds, virtualUsers, pointsPerRequest } = setting;
  const { aggregation = 1 } = setting;
  const one: Machine | undefined = "shared" in cores ? { cores: cores.shared } : undefined;
  const storeMachine = one ?? { cores: "store" in cores ? cores.store : 0 };
  const request = costs.runner.request + (one ? costs.target.request : 0);
  const work = (machine: Machine, left: number, most: number): Work => ({ machine, left, most });
  const runners = Array.from({ length: setting.runners }, (): Runner => {
    const machine = one ?? { cores: "runner" in cores ? cores.runner : 0 };
    const requests = work(machine, 0, machine.cores);
    return { machine, requests, points: 0, due: flushSeconds, writes: [] };
  });
  let [made, dropped, used, stored, pointsMade, inTime] = [0, 0, 0, 0, 0, 0];
  let now = 0;
  const isOver = () =>
    now >= seconds &&
    (now >= seconds + patience ||
      runners.every(({ requests, points, writes }) => {
        return requests.left + points + writes.length === 0;
      }));

  while (!isOver()) {
    const running = now < seconds - step / 2;
    const idle = work(storeMachine, costs.store.second * step, 1);
    const all: Work[] = [idle];
    for (const runner of runners) {
      const { requests, machine, writes } = runner;
      if (running) {
        // One virtual user is there for a request; what finds none is dropped.
        const waiting = requests.left / request;
        const arriving = (offered * step) / setting.runners;
        const taken = Math.min(arriving, Math.max(0, virtualUsers / setting.runners - waiting));
        requests.left += taken * request;
        dropped += arriving - taken;
        all.push(work(machine, costs.runner.second * step, 1));
      }
      if (runner.due <= now && writes.length < concurrentWrites && runner.points > 0) {
        writes.push({
          points: runner.points,
          making: work(machine, runner.points * costs.runner.point, 1),
          storing: work(storeMachine, (runner.points / aggregation) * costs.store.point, 1),
        });
        runner.points = 0;
        // One that had to wait for a write to end leaves out those that it missed.
        runner.due = Math.floor(now / flushSeconds + 1) * flushSeconds;
      }
      if (!running && requests.left === 0) runner.due = Math.min(runner.due, now + step);
      all.push(requests, ...writes.map(({ making, storing }) => (making.left ? making : storing)));
    }

    const before = runners.map(({ requests }) => requests.left);
    used += share(all);
    now += step;
    runners.forEach((runner, index) => {
      const done = (before[index] - runner.requests.left) / request;
      made += done;
      runner.points += done * pointsPerRequest;
      pointsMade += done * pointsPerRequest;
      const ended = runner.writes.filter(({ making, storing }) => !making.left && !storing.left);
      stored += ended.reduce((sum, { points }) => sum + points, 0);
      runner.writes = runner.writes.filter((write) => !ended.includes(write));
    });
    if (running) inTime = stored;
  }

  const behind = Math.max(0, now - seconds);
  return {
    achieved: made / seconds,
    dropped,
    cores: used / seconds,
    storedInTime: pointsMade ? inTime / pointsMade : 1,
    behind,
    kept: isKept({ dropped, behind }),
  };
}

/**
 * Does one step of work: each machine's cores go in equal parts to those who can use them. Gives the
 * processor time that was used.
 */
function share(all: Work[]): number {
  let used = 0;
  const machines = new Map<Machine, Work[]>();
  for (const each of all) {
    if (each.left > 0) machines.set(each.machine, [...(machines.get(each.machine) ?? []), each]);
  }
  for (const [{ cores }, works] of machines) {
    let time = cores * step;
    const wanted = (each: Work) => Math.min(each.left, each.most * step);
    works.sort((a, b) => wanted(a) - wanted(b));
    works.forEach((each, index) => {
      const got = Math.min(wanted(each), time / (works.length - index));
      time -= got;
      used += got;
      // What is left of a rounding is nothing.
      each.left = each.left - got < 1e-12 ? 0 : each.left - got;
    });
  }
  return used;
}

/**
 * The highest rate that is kept: doubled until one is not, then halved in between.
 *
 * @param isKept whether a rate is kept
 * @param from the first rate that is tried
 * @param step how near the answer is to the first rate that is not kept
 */
export async function highestRate(
  isKept: (rate: number) => boolean | Promise<boolean>,
  from: number,
  step: number,
): Promise<number> {
  let [kept, broken] = [0, from];
  while (await isKept(broken)) [kept, broken] = [broken, broken * 2];
  while (broken - kept > step) {
    const middle = Math.round((kept + broken) / 2 / step) * step;
    if (await isKept(middle)) kept = middle;
    else broken = middle;
  }
  return kept;
}
