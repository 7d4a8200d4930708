/** What must hold before load is made: the target answers, points can be written and read. */
import { once } from "node:events";
import * as fs from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { rootCertificates } from "node:tls";
import { query, write } from "./influxdb";
import { type Credentials, type Login, RunFailure, type RunRequest } from "./types";

/** Whether a host is whoever asks for it: this machine or, asked for by a pod, that pod. */
export const isOwnHost = (host: string) =>
  /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(host);

/**
 * Whether load may be made on a URL's host: this machine, `*.local`, or one that is listed, by name
 * or as `*.` and a domain.
 */
export function hostIsAllowed(url: string, allowedHosts: string[]): boolean {
  const { hostname } = new URL(url);
  return (
    isOwnHost(hostname) ||
    hostname.endsWith(".local") ||
    allowedHosts.some((allowed) =>
      allowed.startsWith("*.") ? hostname.endsWith(allowed.slice(1)) : hostname === allowed,
    )
  );
}

/**
 * The URL that a redirect at `url` leads to.
 *
 * @param start where the target was asked first
 * @throws RunFailure when it leads to no URL, or to a host that may not be tested
 */
export function allowedRedirect(
  start: string,
  url: string,
  location: string,
  allowedHosts: string[],
): string {
  if (!URL.canParse(location, url)) {
    throw new RunFailure(`the target ${start} redirects to ${location}, which is no URL`);
  }
  const next = new URL(location, url).href;
  if (!hostIsAllowed(next, allowedHosts)) {
    throw new RunFailure(
      `the target ${start} redirects to ${next}, a host that allowedHosts does not name`,
    );
  }
  return next;
}

/**
 * Follows an answer's redirects.
 *
 * @throws RunFailure when they lead to a host that may not be tested
 */
async function requireAllowedRedirects(
  start: string,
  answer: Response,
  allowedHosts: string[],
  ask: Ask,
): Promise<void> {
  let url = start;
  // As many as k6 follows.
  for (let hop = 0; hop < 10; hop++) {
    const location = answer.headers.get("location");
    if (answer.status < 300 || answer.status > 399 || !location) return;
    url = allowedRedirect(start, url, location, allowedHosts);
    answer = await waitForAnswer(url, 5, undefined, undefined, ask).catch((error) => {
      throw new RunFailure(`the target did not answer: ${error.message}`);
    });
  }
}

/** `fetch`, or one that trusts other certificates. */
type Ask = typeof fetch;

/** How a target is asked that may have certificates which this machine does not trust. */
async function askBy({ caFile, insecureSkipTLSVerify }: RunRequest["target"]): Promise<Ask> {
  if (!caFile && !insecureSkipTLSVerify) return fetch;
  // Of Node.js' own, nothing can be told which certificates to trust.
  const undici = await import("undici");
  const ca = caFile ? [...rootCertificates, fs.readFileSync(caFile, "utf8")] : undefined;
  const dispatcher = new undici.Agent({
    connect: { ca, rejectUnauthorized: !insecureSkipTLSVerify },
  });
  return ((url: string, init: object) => undici.fetch(url, { ...init, dispatcher })) as Ask;
}

/** What says that a certificate is the trouble, which waiting does not change. */
const isCertificate = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/;

/**
 * Waits until `url` answers over HTTP, with any status; gives the answer, without its body.
 *
 * @throws RunFailure after `seconds` without an answer, when `signal` fires, or at once where its
 *   certificate is not trusted
 */
export async function waitForAnswer(
  url: string,
  seconds: number,
  signal?: AbortSignal,
  accepts: (response: Response) => boolean = () => true,
  ask: Ask = fetch,
): Promise<Response> {
  const deadline = Date.now() + seconds * 1000;
  let problem = "";
  // A request that a server takes while it starts may never be answered, so the first tries are
  // short; a server that is slow has its time in later ones.
  let patience = 2000;
  // A connection that is cut while it is made, as by a container that starts, leaves `fetch` waiting
  // for its timeout; neither keeps Node from ending, as if all were done.
  const alive = setInterval(() => undefined, 1000);
  try {
    while (Date.now() < deadline) {
      signal?.throwIfAborted();
      try {
        const response = await ask(url, {
          redirect: "manual",
          signal: AbortSignal.timeout(Math.max(1, Math.min(patience, deadline - Date.now()))),
        });
        await response.body?.cancel();
        if (accepts(response)) return response;
        problem = `status ${response.status}`;
      } catch (error) {
        const { name, message, cause } = error as Error & {
          cause?: { code?: string; message?: string };
        };
        problem = cause?.code ?? cause?.message ?? message;
        if (isCertificate.test(problem)) {
          throw new RunFailure(
            `the target ${url} has a certificate that is not trusted (${problem}): ` +
              "set caFile to that of its authority, or insecureSkipTLSVerify=true",
          );
        }
        if (name === "TimeoutError") patience *= 2;
      }
      await sleep(200);
    }
  } finally {
    clearInterval(alive);
  }
  throw new RunFailure(`${url} gave no good answer for ${seconds} s (${problem})`);
}

/** A WebSocket's address as one of HTTP, by which it answers, too, if only to ask for more. */
export const askedByHttp = (url: string) => url.replace(/^ws/, "http");

/** Waits until the target answers: over HTTP, or, if it speaks gRPC, by taking a connection. */
async function answers(target: RunRequest["target"], allowedHosts: string[], signal: AbortSignal) {
  const { url, health } = target;
  if (url.startsWith("grpc:")) return waitForConnection(url, 30, signal);
  const start = askedByHttp(url);
  const ready = (response: Response) => !health || response.ok;
  const ask = await askBy(target);
  const answer = await waitForAnswer(start + (health ?? ""), 30, signal, ready, ask);
  if (!health) await requireAllowedRedirects(start, answer, allowedHosts, ask);
}

/** @throws RunFailure after `seconds` in which nobody took a connection, or when `signal` fires */
async function waitForConnection(url: string, seconds: number, signal: AbortSignal) {
  const { hostname, port } = new URL(url);
  const at = { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 443) };
  const deadline = Date.now() + seconds * 1000;
  let problem = "";
  while (Date.now() < deadline) {
    signal.throwIfAborted();
    const socket = connect({ ...at, timeout: 5000 });
    try {
      await once(socket, "connect", { signal: AbortSignal.timeout(5000) });
      return;
    } catch (error) {
      problem = (error as { code?: string }).code ?? String(error);
    } finally {
      socket.destroy();
    }
    await sleep(200);
  }
  throw new RunFailure(`${url} took no connection for ${seconds} s (${problem})`);
}

/** Opens the gate, or throws a RunFailure that names what kept it shut. */
export async function gate(
  request: RunRequest,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<void> {
  const { target, influxdb } = request;
  const { url, health } = target;
  // A target that tells its health is the stack's own, wherever it listens.
  if (!health && !hostIsAllowed(url, request.allowedHosts)) {
    throw new RunFailure(`the target ${url} is on a host that allowedHosts does not name`);
  }
  // What pods of a cluster see may be another matter, so there the executor has one of them ask.
  if (request.executor.kind !== "kubernetes") {
    await answers(target, request.allowedHosts, signal).catch((error) => {
      if (error instanceof RunFailure && /^the target /.test(error.message)) throw error;
      throw new RunFailure(`the target did not answer: ${error.message}`);
    });
  }

  // Proof that writer and reader work together; by its value, since a point of a clock that was ahead
  // would still be the last.
  const now = Date.now();
  const as = (login: Login) => ({ url: influxdb.url, ...login, seconds: 10 });
  await write(as(credentials.writer), influxdb.database, `gate value=${now}`).catch((error) => {
    throw new RunFailure(`k6's user cannot write to InfluxDB: ${error.message}`);
  });
  const [[series]] = await query(
    as(credentials.reader),
    `SELECT "value" FROM "gate" WHERE "value" = ${now}`,
    influxdb.database,
  ).catch((error) => {
    throw new RunFailure(`Grafana's user cannot read from InfluxDB: ${error.message}`);
  });
  if (series?.values[0][1] !== now) {
    throw new RunFailure("a point written to InfluxDB could not be read back");
  }
}
