/** What the stack asks of InfluxDB, and what a real one makes of it. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { query } from "../../runner/influxdb";
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
