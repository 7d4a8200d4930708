/** What must hold before load is made: the target answers, points can be written and read. */
import { setTimeout as sleep } from "node:timers/promises";
import { query, write } from "./influxdb";
import { type Credentials, type Login, RunFailure, type RunRequest } from "./types";

/**
 * Waits until `url` answers over HTTP, with any status.
 *
 * @throws RunFailure after `seconds` without an answer, or when `signal` fires
 */
export async function waitForAnswer(
  url: string,
  seconds: number,
  signal?: AbortSignal,
  accepts: (response: Response) => boolean = () => true,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  let problem = "";
  while (Date.now() < deadline) {
    signal?.throwIfAborted();
    try {
      const response = await fetch(url, {
        redirect: "manual",
        signal: AbortSignal.timeout(5000),
      });
      await response.body?.cancel();
      if (accepts(response)) return;
      problem = `status ${response.status}`;
    } catch (error) {
      const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
      problem = cause?.code ?? cause?.message ?? message;
    }
    await sleep(200);
  }
  throw new RunFailure(`${url} gave no good answer for ${seconds} s (${problem})`);
}

/** Opens the gate, or throws a RunFailure that names what kept it shut. */
export async function gate(
  request: RunRequest,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<void> {
  const { target, influxdb } = request;
  const { url, health } = target;
  const ready = (response: Response) => !health || response.ok;
  await waitForAnswer(url + (health ?? ""), 30, signal, ready).catch((error) => {
    throw new RunFailure(`the target did not answer: ${error.message}`);
  });

  // One point of one series, overwritten by each run: proof that writer and reader work together.
  const now = Date.now();
  const as = (login: Login) => ({ url: influxdb.url, ...login });
  await write(as(credentials.writer), influxdb.database, `gate value=${now}`).catch((error) => {
    throw new RunFailure(`k6's user cannot write to InfluxDB: ${error.message}`);
  });
  const [[series]] = await query(
    as(credentials.reader),
    `SELECT last("value") FROM "gate"`,
    influxdb.database,
  ).catch((error) => {
    throw new RunFailure(`Grafana's user cannot read from InfluxDB: ${error.message}`);
  });
  if (series?.values[0][1] !== now) {
    throw new RunFailure("a point written to InfluxDB could not be read back");
  }
}
