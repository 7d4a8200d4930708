/**
 * The points that k6 writes, as many as wanted: taken down from a short real run of each script, and
 * written again with other users and times.
 */
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { defaultProfile } from "../k6/profile";
import { type InfluxDbError, write } from "../runner/influxdb";
import { type Bench, type Side, startTarget, type Store } from "./machine";
import { type Load, runGuide, runOurs } from "./load";

/** Points by measurement; each as the pieces of its line between which the user's number goes. */
export type Samples = Map<string, string[][]>;

/** Measurements with a point a request; `vus` and `vus_max` have one a second. */
const isPerRequest = (measurement: string) =>
  !/^(vus|vus_max|dropped_iterations)$/.test(measurement);

/** Runs both scripts against a server that takes down what InfluxDB would get. */
export async function sampleK6(bench: Bench): Promise<Record<Side, Samples>> {
  const load: Load = { rate: bench.quick ? 20 : 200, duration: "3s", preAllocatedVUs: 20 };
  const target = await startTarget();
  let lines: string[] = [];
  const server = http.createServer(async (request, response) => {
    const body = await text(request);
    if (request.url?.startsWith("/write")) lines.push(...body.trim().split("\n"));
    response.writeHead(200, { "content-type": "application/json" }).end('{"results":[{}]}');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const login = { username: "k6", password: "bench" };
    await runGuide(bench, load, target.url, url);
    const guide = samples(lines);
    lines = [];
    await runOurs(bench, load, target.url, { url, credentials: { writer: login, reader: login } });
    return { guide, ours: samples(lines) };
  } finally {
    server.close();
    server.closeAllConnections();
    await target.stop();
  }
}

function samples(lines: string[]): Samples {
  const found: Samples = new Map();
  for (const line of lines) {
    const measurement = /^[^, ]+/.exec(line)![0];
    if (!isPerRequest(measurement)) continue;
    const pieces = line.slice(0, line.lastIndexOf(" ") + 1).split(/(?<=\/coupons\/)\d+/);
    if (found.has(measurement)) found.get(measurement)!.push(pieces);
    else found.set(measurement, [pieces]);
  }
  return found;
}

export interface Points {
  requests: number;
  /** Distinct users, one after the other. */
  users: number;
  /** Only these measurements. */
  only?: string[];
  /** When the first request ends, in milliseconds since 1970, and how many end a second. */
  from: number;
  rate: number;
  /** Sees the lines of each request to InfluxDB. */
  seen?: (lines: string[]) => void;
}

export interface Written {
  points: number;
  /** Points refused. */
  refused: number;
  /** InfluxDB's words for it, and how many requests it had taken before. */
  refusal?: { message: string; after: number };
  bytes: number;
}

/** A line with another duration, nearly the same: k6 tells them to the nanosecond, so hardly two are equal. */
const varied = (line: string) =>
  line.replace(/(value=\d+\.\d{3})\d{3}\b/, (_, most) => most + String(Math.random()).slice(2, 5));

const batch = 2000;

/**
 * Writes points, 2,000 requests at a time as k6 does at that rate.
 *
 * @param stopAfterRefusal requests to go on with after the first refusal
 */
export async function writePoints(
  bench: Bench,
  store: Store,
  samples: Samples,
  { requests, users, only, from, rate, seen }: Points,
  stopAfterRefusal = Infinity,
): Promise<Written> {
  const measurements = [...samples].filter(([name]) => only?.includes(name) ?? true);
  const written: Written = { points: 0, refused: 0, bytes: 0 };
  const stepNs = 1e9 / rate;
  let next = 0;
  const more = () =>
    next < Math.min(requests, (written.refusal?.after ?? Infinity) + stopAfterRefusal);
  const writer = async () => {
    while (more()) {
      bench.signal.throwIfAborted();
      const first = next;
      const last = (next = Math.min(requests, first + batch));
      const lines: string[] = [];
      for (let index = first; index < last; index++) {
        const user = String(defaultProfile.userIdBase + (index % users));
        // A run ends its requests at odd moments; even ones would take no room on the disk.
        const ns = Math.floor((index + Math.random()) * stepNs);
        const ms = Math.floor(ns / 1e6);
        const time = `${from + ms}${String(ns - ms * 1e6).padStart(6, "0")}`;
        for (const [, pieces] of measurements) {
          lines.push(varied(pieces[index % pieces.length].join(user)) + time);
        }
      }
      seen?.(lines);
      const body = lines.join("\n");
      written.points += lines.length;
      written.bytes += body.length;
      await write(store.writer, "k6", body).catch((error: InfluxDbError) => {
        if (!error.status) throw error;
        written.refused += Number(/dropped=(\d+)/.exec(error.message)?.[1] ?? lines.length);
        written.refusal ??= { message: error.message, after: first };
      });
    }
  };
  await Promise.all([writer(), writer()]);
  return written;
}
