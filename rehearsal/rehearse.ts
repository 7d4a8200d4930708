/**
 * The load test with InfluxDB, Redis and the coupon API as local processes: the same scenario,
 * gate, runner, proof and verdict, without Docker, Pulumi and Grafana.
 */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { externalTarget, type StackConfig } from "../config";
import { freePort } from "../runner/ports";
import { charts, table } from "../runner/report";
import { latestRun, runLoadTest, runsFolder } from "../runner/run";
import { scriptHash } from "../runner/script";
import type { Credentials, RunRequest } from "../runner/types";
import { type Parts, prepareParts } from "./parts";
import { type Server, setUpInfluxDb, startCouponApi, startInfluxDb, startRedis } from "./processes";

const say = (line: string) => console.error(line);

/** Rehearsals are runs of their own: a stack's `make up` goes by the stack's newest run. */
const stack = "rehearsal";

/**
 * Starts everything, runs the test, shows charts and verdict, and leaves no process behind.
 *
 * @throws RunFailure when a part is missing or the run fails
 */
export async function rehearse(config: StackConfig, signal: AbortSignal) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "coupon-load-test-"));
  const running: Server[] = [];
  try {
    const parts = await prepareParts(say);
    const url = `http://127.0.0.1:${await freePort()}`;
    const password = () => crypto.randomBytes(24).toString("hex");
    const credentials: Credentials = {
      writer: { username: "k6", password: password() },
      reader: { username: "grafana", password: password() },
      secrets: config.scriptSecrets,
    };
    running.push(await startInfluxDb(parts.influxd, folder, Number(new URL(url).port), signal));
    const admin = { url, adminUsername: "admin", adminPassword: password() };
    await setUpInfluxDb(admin, "k6", credentials);

    const request: RunRequest = {
      stack,
      runId: "",
      script: config.script,
      scriptHash: scriptHash(config.script),
      scriptEnv: config.scriptEnv,
      profile: config.profile,
      thresholds: config.thresholds,
      baseline: config.baseline,
      maxRegression: config.maxRegression,
      routeLimits: config.routeLimits,
      starvedGenerator: config.starvedGenerator,
      maxSeries: config.maxSeries,
      executor: { kind: "local", binary: parts.k6 },
      target: {
        ...(config.target.kind === "external" && externalTarget(config.target)),
        url: await startTarget(config, parts, folder, running, signal),
        version: "",
      },
      allowedHosts: config.allowedHosts,
      influxdb: { url, database: "k6" },
    };
    await runLoadTest(request, credentials, say, signal).catch((error) => {
      // A run that broke a limit has figures to show, too.
      if (latestRun(stack)?.startedAt) show();
      throw error;
    });
    show();
  } finally {
    await Promise.all(running.reverse().map((server) => server.stop()));
    fs.rmSync(folder, { recursive: true, force: true });
  }

  function show() {
    const summary = latestRun(stack);
    if (!summary) return;
    console.log(`\n${charts(summary) || "  no HTTP requests in this run"}\n`);
    console.log(`${table(summary)}\n`);
    console.log(`report  ${runsFolder}/${summary.id}/report.html`);
  }
}

/** The target's URL; the sample is started, together with its Redis. */
async function startTarget(
  { target, profile }: StackConfig,
  parts: Parts,
  folder: string,
  running: Server[],
  signal: AbortSignal,
): Promise<string> {
  if (target.kind === "external") return target.baseUrl;
  const redis = await startRedis(parts["redis-server"], folder, await freePort(), signal);
  running.push(redis);
  const settings = { redisUrl: redis.url, couponId: profile.couponId, stock: target.stock };
  const api = await startCouponApi(folder, target.port || (await freePort()), settings, signal);
  running.push(api);
  return api.url;
}
