/**
 * The coupons in Redis: issuing (one Lua script), counting, and recording what was issued.
 *
 * Keys of coupon N:
 *   coupon:N:issued    set      the users who have the coupon; its size is the number issued
 *   coupon:N:queue     stream   issues that are not recorded yet
 *   coupon:N:recorded  hash     user -> time of the issue
 *
 * The stock is no key: it is configuration, handed to the script with every call. So a restart
 * resets nothing, a changed stock takes effect, and a Redis that lost its data needs no set-up.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, defineScript, ErrorReply, type CommandParser } from "redis";

/** What became of one request for a coupon. */
export type IssueStatus = "issued" | "already issued" | "sold out";

/** How one coupon stands. `recorded` follows `issued` as the queue drains. */
export interface CouponCounts {
  couponId: number;
  stock: number;
  issued: number;
  recorded: number;
}

/** Redis is away, not ready, or refuses to serve: the request may be repeated later. */
export class RedisUnavailable extends Error {}

/** One entry of the queue; its id starts with the time of the issue. */
interface QueueEntry {
  id: string;
  message: { userId: string };
}

const GROUP = "recorders";
// Every process is the same consumer, so each finds what any other one left behind.
const CONSUMER = "recorder";
const BATCH = 100;
const BLOCK_MS = 1_000;
const RETRY_MS = 1_000;

// XADD stands before SADD: if either fails, no user is left with a coupon that was never queued.
const ISSUE = defineScript({
  NUMBER_OF_KEYS: 2,
  SCRIPT: `
    local issued, queue = KEYS[1], KEYS[2]
    local user, stock = ARGV[1], tonumber(ARGV[2])
    if redis.call('SISMEMBER', issued, user) == 1 then return 'already issued' end
    if redis.call('SCARD', issued) >= stock then return 'sold out' end
    redis.call('XADD', queue, '*', 'userId', user)
    redis.call('SADD', issued, user)
    return 'issued'`,
  parseCommand(parser: CommandParser, keys: [string, string], userId: number, stock: number) {
    parser.pushKeys(keys);
    parser.push(String(userId), String(stock));
  },
  transformReply: (reply: unknown) => reply as IssueStatus,
});

/** One coupon in Redis: answers requests at once and records the issues in the background. */
export class CouponStore {
  readonly #commands;
  // A blocking read holds its connection, so the recorder has one of its own.
  readonly #recorder;
  readonly #keys;
  #recording: Promise<void> = Promise.resolve();
  #away = false;
  #stopped = false;

  constructor(
    redisUrl: string,
    readonly couponId: number,
    readonly stock: number,
    private readonly log: (line: string) => void,
  ) {
    const reconnectStrategy = (retries: number) => Math.min(100 * (retries + 1), 1_000);
    this.#commands = createClient({
      url: redisUrl,
      scripts: { issue: ISSUE },
      // Answer "unavailable" at once while Redis is away instead of holding the requests back.
      disableOfflineQueue: true,
      // The client's own timeout covers only commands it could not send yet, which are refused
      // anyway, and costs a timer per command: a quarter of the CPU and half the memory under load.
      commandOptions: { timeout: undefined },
      socket: { reconnectStrategy },
    });
    this.#recorder = createClient({
      url: redisUrl,
      // It hears from Redis every BLOCK_MS, so a silent connection is a dead one.
      socket: { reconnectStrategy, socketTimeout: 5 * BLOCK_MS },
    });
    const key = (name: string) => `coupon:${couponId}:${name}`;
    this.#keys = { issued: key("issued"), queue: key("queue"), recorded: key("recorded") };
  }

  /** Connects and starts recording. Both go on trying by themselves while Redis is away. */
  start(): void {
    for (const client of [this.#commands, this.#recorder]) {
      client.on("error", (error) => this.#failed(error)).on("ready", () => this.#served());
      // Rejects only if stop() comes before the first connection.
      client.connect().catch(() => {});
    }
    this.#recording = this.#record();
  }

  /** Leaves at once: an issue that is read but not acknowledged is recorded at the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#recorder.destroy();
    this.#commands.destroy();
    await this.#recording;
  }

  /** Issues the coupon to the user: atomically, at most `stock` times, once per user. */
  issue(userId: number): Promise<IssueStatus> {
    const { issued, queue } = this.#keys;
    return this.#answer(this.#commands.issue([issued, queue], userId, this.stock));
  }

  /** Counts issued and recorded coupons, both at the same moment. */
  async counts(): Promise<CouponCounts> {
    const both = this.#commands.multi().sCard(this.#keys.issued).hLen(this.#keys.recorded);
    const [issued, recorded] = await this.#answer(both.execTyped());
    return { couponId: this.couponId, stock: this.stock, issued, recorded };
  }

  /** Resolves if Redis answers. */
  async ping(): Promise<void> {
    await this.#answer(this.#commands.ping());
  }

  async #answer<T>(reply: Promise<T>): Promise<T> {
    try {
      const answer = await reply;
      this.#served();
      return answer;
    } catch (error) {
      this.#failed(error as Error);
      throw new RedisUnavailable("Redis is unavailable", { cause: error });
    }
  }

  // One line when Redis fails and one when it is back, however many requests are in between.
  #failed(error: NodeJS.ErrnoException): void {
    if (!this.#away) this.log(`Redis does not serve: ${error.message || error.code}`);
    this.#away = true;
  }

  #served(): void {
    if (this.#away) this.log("Redis serves again");
    this.#away = false;
  }

  async #record(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#createGroup();
        while (!this.#stopped) await this.#recordBatch();
      } catch (error) {
        if (this.#stopped) return;
        if (error instanceof ErrorReply) this.log(`Redis refuses to record: ${error.message}`);
        await sleep(RETRY_MS);
      }
    }
  }

  async #createGroup(): Promise<void> {
    try {
      await this.#recorder.xGroupCreate(this.#keys.queue, GROUP, "0", { MKSTREAM: true });
    } catch (error) {
      if (!(error instanceof ErrorReply && error.message.startsWith("BUSYGROUP"))) throw error;
    }
  }

  /**
   * Records first, acknowledges then: whoever dies in between leaves the issues to be read again.
   * Recording twice writes the same value, as the time of the issue is part of the entry's id.
   */
  async #recordBatch(): Promise<void> {
    const { queue, recorded } = this.#keys;
    let entries = await this.#read("0"); // what was read before but never acknowledged
    if (entries.length === 0) entries = await this.#read(">"); // what is new
    if (entries.length === 0) return;

    const ids = entries.map((entry) => entry.id);
    const issuedAt = (id: string) => new Date(Number(id.split("-")[0])).toISOString();
    const issues = new Map(entries.map(({ id, message }) => [message.userId, issuedAt(id)]));
    await this.#recorder.hSet(recorded, issues);
    await this.#recorder.multi().xAck(queue, GROUP, ids).xDel(queue, ids).exec();
  }

  async #read(from: "0" | ">"): Promise<QueueEntry[]> {
    const streams = await this.#recorder.xReadGroup(
      GROUP,
      CONSUMER,
      { key: this.#keys.queue, id: from },
      { COUNT: BATCH, BLOCK: BLOCK_MS },
    );
    return streams?.[0]?.messages ?? [];
  }
}
