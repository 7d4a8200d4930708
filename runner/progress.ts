/** Watches a run: reads what has come to be stored since, tells people, panels and the alert rule. */
import { heartbeat, history, type Scope } from "../dashboards/queries";
import { firstIterationAt, type LoadProfile, rateAt } from "../k6/profile";
import { Digest, type Request } from "./digest";
import { query, write } from "./influxdb";
import type { Login } from "./types";
import type { Source } from "./verify";

/** How often it looks, and how often it says something, in milliseconds. */
const pace = 1000;
const sayPace = 5000;

/** k6 sends a second's points at once, and InfluxDB takes its time: what ended before this is there. */
const grace = 3000;

/** What one question may bring, at 35,000 requests a second a million of them, in milliseconds. */
const most = 30_000;

/** An InfluxDB that hangs must not keep the run from ending. */
const patience = { seconds: 10 };

/** A run that is watched. */
export interface Watch {
  /** What was seen of it. */
  digest: Digest;
  /** Says and tells no more. */
  stop(): void;
  /** Stops, and takes in what is left. */
  end(): Promise<void>;
  /** Takes in and tells all from the start: some points came later than others wait for. */
  again(): Promise<void>;
}

/**
 * @param scope the run's requests
 * @param say gets a line every five seconds
 * @param shape of the load, which the dashboard has beside the requests
 */
export function watch(
  { influxdb, reader }: Source,
  writer: Login,
  id: string,
  scope: Scope,
  say: (line: string) => void,
  shape?: LoadProfile,
): Watch {
  const { url, database } = influxdb;
  const ask = (statements: string[]) =>
    query({ url, ...reader, ...patience }, statements.join("; "), database);
  const tell = (lines: string, policy = "") =>
    write({ url, ...writer, ...patience }, database, lines, policy);

  const late = shape && firstIterationAt(shape);
  const offered = shape && ((seconds: number) => rateAt(shape, seconds + late!));
  let digest = new Digest(id, offered);
  /** What ended before it, in milliseconds since 1970, is in the digest. */
  let until = 0;
  /** When the newest request ended, by the clock of k6, and when it was seen, by ours. */
  let newest = { endedAt: 0, seenAt: 0 };

  /**
   * Takes in what ended `grace` ago or before.
   *
   * @param now when it is by the clock of k6, once the newest request is known
   */
  async function look(grace: number, now = () => newest.endedAt) {
    for (;;) {
      const since = `${scope.where} AND time >= ${until}ms`;
      const ends = ["first", "last"].map(
        (each) => `SELECT ${each}("value") FROM "http_req_duration" WHERE ${since}`,
      );
      const [first, last] = (await ask(ends)).map(([series]) => Number(series?.values[0][0]));
      if (last > newest.endedAt) newest = { endedAt: last, seenAt: Date.now() };
      const end = wholeSecond(now() + 1000 - grace);
      const from = Math.max(until, wholeSecond(first) || 0);
      const to = Math.min(end, from + most);
      if (newest.endedAt === 0 || to <= from) return;
      const range = `${scope.where} AND time >= ${from}ms AND time < ${to}ms`;
      const [[durations], [failed]] = await ask([
        `SELECT "value" FROM "http_req_duration" WHERE ${range}`,
        `SELECT sum("value") FROM "http_req_failed" WHERE ${range}`,
      ]);
      const requests = (durations?.values ?? []) as Request[];
      digest.add(requests, Number(failed?.values[0][1] ?? 0), to);
      until = to;
      const news = digest.takeNews();
      if (news) await tell(news, history);
    }
  }
  /** It goes on while no request ends: that none does is to be seen, too. */
  const clock = () => newest.endedAt + Date.now() - newest.seenAt;

  const started = Date.now();
  let said = started;
  let before = 0;
  let over = false;
  async function tick() {
    // What cannot be read or told now is read later; the verdict does not go by it.
    await look(grace, clock).catch(() => undefined);
    await tell(`${heartbeat} stored=${digest.requests - before}`).catch(() => undefined);
    before = digest.requests;
    // The verdict is said last.
    if (over || Date.now() - said < sayPace) return;
    said = Date.now();
    say(`${Math.round((said - started) / 1000)} s: ${inWords(digest)}`);
  }
  let ticking: Promise<void> | undefined;
  const timer = setInterval(() => {
    ticking ??= tick().finally(() => (ticking = undefined));
  }, pace);
  const stop = () => {
    over = true;
    clearInterval(timer);
  };

  return {
    get digest() {
      return digest;
    },
    stop,
    async end() {
      stop();
      await ticking;
      await look(0).catch(() => undefined);
    },
    async again() {
      digest = new Digest(id, offered);
      until = 0;
      await look(0);
    },
  };
}

const wholeSecond = (ms: number) => Math.floor(ms / 1000) * 1000;

function inWords({ requests, rps, p95Ms, failedRate }: Digest): string {
  if (requests === 0) return "no request stored yet";
  const failed = (failedRate * 100).toFixed(1);
  return `${requests} requests, ${rps.toFixed(1)}/s, p95 ${p95Ms.toFixed(1)} ms, ${failed} % failed`;
}
