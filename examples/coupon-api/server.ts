/** Starts and stops the coupon API; its configuration is read from the environment. */
import { isIP } from "node:net";
import { buildApp } from "./app";
import { CouponStore } from "./coupons";

// In-flight requests get this long after a stop signal.
const STOP_WITHIN_MS = 1_000;

// A load test opens all its connections at once. Node queues 511; each one above that is dropped
// and comes again a second later.
const BACKLOG = 4_096;

/** The environment, checked. */
interface Config {
  port: number;
  host: string;
  redisUrl: string;
  couponId: number;
  stock: number;
}

function readConfig(env: NodeJS.ProcessEnv): Config {
  const read = (
    name: string,
    standard: string,
    valid: (text: string) => boolean,
    allowed: string,
  ) => {
    const text = env[name] ?? standard;
    if (valid(text)) return text;
    // A URL may hold a password, which has no place in a log.
    const shown = JSON.stringify(text.replace(/\/\/.*@/, "//***@"));
    throw new Error(`${name} is ${shown}; allowed is ${allowed}`);
  };
  const readNumber = (name: string, standard: number, max: number) => {
    const valid = (text: string) => /^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= max;
    return Number(read(name, String(standard), valid, `a whole number from 1 to ${max}`));
  };
  return {
    port: readNumber("PORT", 8080, 65_535),
    host: read("HOST", "0.0.0.0", isHost, "an IP address or a host name"),
    redisUrl: read(
      "REDIS_URL",
      "redis://redis:6379",
      isRedisUrl,
      "redis://[user:password@]host[:port][/database]",
    ),
    couponId: readNumber("COUPON_ID", 1, Number.MAX_SAFE_INTEGER),
    stock: readNumber("COUPON_STOCK", 1_000, Number.MAX_SAFE_INTEGER),
  };
}

function isHost(text: string): boolean {
  return isIP(text) !== 0 || /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(text);
}

function isRedisUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, pathname } = new URL(text);
  return /^rediss?:$/.test(protocol) && hostname !== "" && /^(\/\d*)?$/.test(pathname);
}

function log(line: string): void {
  console.log(`${new Date().toISOString()} ${line}`);
}

async function main(): Promise<void> {
  const { port, host, redisUrl, couponId, stock } = readConfig(process.env);
  const store = new CouponStore(redisUrl, couponId, stock, log);
  const app = buildApp(store, log);

  const stop = async (signal: NodeJS.Signals) => {
    log(`Stopping on ${signal}`);
    setTimeout(() => process.exit(1), STOP_WITHIN_MS).unref();
    await app.close();
    await store.stop();
    process.exit(0);
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);

  store.start();
  try {
    await app.listen({ port, host, backlog: BACKLOG });
  } catch (error) {
    throw new Error(`cannot listen on HOST ${host}, PORT ${port}: ${(error as Error).message}`);
  }
  log(`Listening on ${host}:${port}: coupon ${couponId}, stock ${stock}`);
}

main().catch((error: Error) => {
  console.error(`coupon-api: ${error.message}`);
  process.exit(1);
});
