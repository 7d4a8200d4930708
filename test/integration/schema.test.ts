/** What the stack asks of InfluxDB, and what a real one makes of it. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { gate } from "../../runner/gate";
import { query, write } from "../../runner/influxdb";
import { asAdmin, ensureAdmin, ensureDatabase, ensureRetentionPolicy } from "../../runner/schema";
import { findParts, Rig } from "../support/rig";

let missing: string | undefined;
let rig: Rig;

beforeAll(async () => {
  const found = await findParts();
  if ("missing" in found) return void (missing = found.missing);
  rig = await Rig.start(found.parts);
  await ensureAdmin(rig.admin);
});
beforeEach(({ skip }) => {
  if (missing) skip(missing);
});
afterAll(() => rig?.stop());

test("retention may be any length from an hour on, and change", async () => {
  const database = "kept";
  const kept = async (retention: string, historyRetention: string) => {
    await ensureDatabase(rig.admin, { database, retention });
    const history = { database, name: "history", retention: historyRetention };
    await ensureRetentionPolicy(rig.admin, history);
    const show = `SHOW RETENTION POLICIES ON "${database}"`;
    const [[{ values }]] = await query(asAdmin(rig.admin), show);
    return values.map(([name, duration, shards]) => `${name} ${duration} by ${shards}`);
  };
  expect(await kept("30d", "730d")).toEqual([
    "autogen 720h0m0s by 24h0m0s",
    "history 17520h0m0s by 168h0m0s",
  ]);
  expect(await kept("1h", "1h")).toEqual(["autogen 1h0m0s by 1h0m0s", "history 1h0m0s by 1h0m0s"]);
  expect(await kept("24h", "2d")).toEqual([
    "autogen 24h0m0s by 1h0m0s",
    "history 48h0m0s by 24h0m0s",
  ]);
});

test("a question that would take all the memory is refused in a line, and others are answered", async () => {
  const { database, credentials } = await rig.store();
  const user = (login: { username: string; password: string }) => ({
    ...{ url: rig.admin.url, ...login },
  });
  const seconds = Array.from({ length: 100 }, (_, at) => Date.now() - at * 1000);
  const points = seconds.map((time) => `http_reqs value=1 ${time}000000`).join("\n");
  await write(user(credentials.writer), database, points);
  const ask = (range: string, interval: string) =>
    query(
      user(credentials.reader),
      `SELECT count("value") FROM "http_reqs" WHERE time > now() - ${range} GROUP BY time(${interval})`,
      database,
    );
  await expect(ask("365d", "1s")).rejects.toThrow(
    /^max-select-buckets limit exceeded: \(\d+\/100000\)$/,
  );
  await expect(ask("1h", "1ms")).rejects.toThrow(/^max-select-buckets limit exceeded: /);
  const [[{ values }]] = await ask("1h", "1h");
  expect(values.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(100);
});

test("the gate opens though a point of a clock that was ahead is the last", async () => {
  const store = await rig.store();
  const { database, credentials } = store;
  const future = `${Date.now() + 86_400_000}000000`;
  await write({ url: rig.admin.url, ...credentials.writer }, database, `gate value=1 ${future}`);
  const request = rig.request(store, rig.admin.url);
  await gate(request, credentials, new AbortController().signal);
});
