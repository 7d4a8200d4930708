/** All points of one InfluxDB database into another, beside those that are there. */
import { identifier, query } from "../runner/influxdb";
import { inHalves, type Range } from "../runner/parts";
import { type Admin, asAdmin, ensureRetentionPolicy, policiesOf } from "../runner/schema";

/**
 * Copies every point that is not too old for the retention policy of its name; a policy that is not
 * there is made. What is counted in the one is counted in the other. Can be called again without
 * harm: a point is known by its time and its tags.
 *
 * @param say gets a line for each policy
 * @param signal breaks off after a few seconds
 * @throws Error when InfluxDB refuses or has not taken all
 */
export async function copyPoints(
  admin: Admin,
  source: string,
  target: string,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const own = await policiesOf(admin, target);
  for (const { name, duration } of (await policiesOf(admin, source)) ?? []) {
    const policy = String(name);
    const known = own?.find((each) => each.name === name);
    // Somebody made it by hand.
    const made = { name: policy, database: target, retention: String(duration) };
    if (!known) await ensureRetentionPolicy(admin, made);
    const since = oldest(String((known ?? { duration }).duration));
    const [from, to] = [source, target].map((database) => ({ database, policy }));
    const points = await copyPolicy(admin, from, to, since, signal);
    say(`InfluxDB: ${points} points of retention policy ${policy}`);
  }
}

/** Copies what is not older than `since`, in milliseconds since 1970; gives the number of points. */
async function copyPolicy(
  admin: Admin,
  from: Place,
  to: Place,
  since: number,
  signal: AbortSignal,
): Promise<number> {
  let points = 0;
  for (const range of await rangesOf(admin, from, since)) {
    signal.throwIfAborted();
    const copies = await inHalves(range, (part) => {
      const copy =
        `SELECT * INTO ${placed(to)}.:MEASUREMENT FROM ${placed(from)}./.*/ ` +
        `WHERE ${within(part)} GROUP BY *`;
      return query(asAdmin(admin), copy);
    });
    for (const [[written]] of copies) points += Number(written.values[0][1]);
    const arrived = await countsOf(admin, to, range);
    for (const [field, count] of await countsOf(admin, from, range)) {
      const there = arrived.get(field) ?? 0;
      if (there >= count) continue;
      throw new Error(`InfluxDB took in ${there} of ${count} values of ${field}`);
    }
  }
  return points;
}

/** A retention policy of a database. */
interface Place {
  database: string;
  policy: string;
}
const placed = ({ database, policy }: Place) => `${identifier(database)}.${identifier(policy)}`;

const within = ({ from, to }: Range) => `time >= ${from}ms AND time < ${to}ms`;

const minute = 60_000;
const day = 24 * 60 * minute;

/** The time before which a policy takes no point, a little later. @param kept such as `720h0m0s` */
function oldest(kept: string): number {
  const [, hours, minutes, seconds] = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(kept) ?? [];
  const ms =
    [hours, minutes, seconds].reduce((sum, each) => sum * 60 + Number(each ?? 0), 0) * 1000;
  return ms === 0 ? 0 : Date.now() - ms + 10 * minute;
}

/** Ranges of whole minutes that have points, each of as many as InfluxDB copies in a few seconds. */
async function rangesOf(admin: Admin, from: Place, since: number): Promise<Range[]> {
  const [[groups]] = await query(asAdmin(admin), "SHOW SHARD GROUPS");
  const own = groups.values
    .filter(([, database, policy]) => database === from.database && policy === from.policy)
    .map((row) => ({ from: Date.parse(String(row[3])), to: Date.parse(String(row[4])) }));
  const minutes = new Map<number, number>();
  for (const group of own) {
    for (let start = Math.max(group.from, since); start < group.to; start += day) {
      const range = { from: start, to: Math.min(start + day, group.to) };
      for (const { values } of await counted(admin, from, range, `GROUP BY time(1m) fill(none)`)) {
        for (const [time, ...counts] of values) {
          const before = minutes.get(Number(time)) ?? 0;
          minutes.set(
            Number(time),
            counts.reduce<number>((sum, n) => sum + Number(n), before),
          );
        }
      }
    }
  }
  const ranges: Range[] = [];
  let values = Infinity;
  for (const time of [...minutes.keys()].sort((a, b) => a - b)) {
    if (values > 200_000) {
      ranges.push({ from: Math.max(time, since), to: time });
      values = 0;
    }
    ranges.at(-1)!.to = time + minute;
    values += minutes.get(time)!;
  }
  return ranges;
}

/** How many values each field of each measurement has. */
async function countsOf(admin: Admin, place: Place, range: Range): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const { name, columns, values } of await counted(admin, place, range)) {
    columns.slice(1).forEach((column, index) => {
      const field = `${name}.${column}`;
      counts.set(field, (counts.get(field) ?? 0) + Number(values[0][index + 1]));
    });
  }
  return counts;
}

async function counted(admin: Admin, place: Place, range: Range, grouped = "") {
  const parts = await inHalves(range, (part) => {
    const count = `SELECT count(*) FROM ${placed(place)}./.*/ WHERE ${within(part)} ${grouped}`;
    return query(asAdmin(admin), count);
  });
  return parts.flatMap(([all]) => all);
}
