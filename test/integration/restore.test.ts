/** Points of a restored database, copied into that of the stack by a real InfluxDB. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { query, write } from "../../runner/influxdb";
import { asAdmin, ensureAdmin, ensureDatabase, ensureRetentionPolicy } from "../../runner/schema";
import { copyPoints } from "../../scripts/points";
import { findParts, Rig } from "../support/rig";

let missing: string | undefined;
let rig: Rig;

const hour = 3_600_000;
const now = Date.now();
/** More values than are copied at once. */
const requests = 450_000;
const signal = new AbortController().signal;

const put = (database: string, lines: string[], policy = "") =>
  write(asAdmin(rig.admin), database, lines.join("\n"), policy);
const line = (key: string, fields: string, hoursAgo: number) =>
  `${key} ${fields} ${now - hoursAgo * hour}000000`;

/** The values of all fields in a policy, by measurement. */
async function counts(database: string, policy: string): Promise<Record<string, number>> {
  const [all] = await query(
    asAdmin(rig.admin),
    `SELECT count(*) FROM "${database}"."${policy}"./.*/`,
  );
  const sum = (row: (string | number | null)[]) =>
    row.slice(1).reduce<number>((all, each) => all + Number(each), 0);
  return Object.fromEntries(all.map(({ name, values }) => [name, sum(values[0])]));
}

beforeAll(async () => {
  const found = await findParts();
  if ("missing" in found) return void (missing = found.missing);
  rig = await Rig.start(found.parts);
  await ensureAdmin(rig.admin);
  for (const [database, retention] of Object.entries({ saved: "30d", k6: "8d" })) {
    await ensureDatabase(rig.admin, { database, retention });
    await ensureRetentionPolicy(rig.admin, { database, name: "history", retention: "104w" });
  }
  await ensureRetentionPolicy(rig.admin, { database: "saved", name: "mine", retention: "12h" });
  for (let part = 0; part < requests; part += 50_000) {
    const own = Array.from({ length: 50_000 }, (_, each) => {
      const key = `http_reqs,name=${each % 2 ? "a" : "b"},testid=old`;
      return `${key} value=1 ${now - 2 * hour + (part + each) * 10}000000`;
    });
    await put("saved", own);
  }
  await put("saved", [
    line("checks,testid=old", "value=0", 24 * 7),
    line("checks,testid=old", "value=1", 24 * 9),
    line("checks,testid=old", "value=1", 24 * 10),
  ]);
  const run = (id: string) => `k6_runs,testid=${id}`;
  const fields = `p95=1.5,count=3i,ok=true,outcome="a \\"quoted\\", text"`;
  await put("saved", [line(run("old"), fields, 24 * 400)], "history");
  await put("saved", [line("notes", `text="by hand"`, 3)], "mine");
  await put("k6", [line("http_reqs,name=a,testid=new", "value=1", 1)]);
  await put("k6", [line(run("new"), "p95=2", 1)], "history");
}, 120_000);
beforeEach((context) => context.skip(missing !== undefined, missing));
afterAll(() => rig?.stop());

test("copying can be interrupted, and then be done", { timeout: 120_000 }, async () => {
  const interrupted = new AbortController();
  const said: string[] = [];
  const copying = copyPoints(
    rig.admin,
    "saved",
    "k6",
    (text) => said.push(text),
    interrupted.signal,
  );
  while (((await counts("k6", "autogen")).http_reqs ?? 0) < 2) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  interrupted.abort();
  await expect(copying).rejects.toThrow(/aborted/);
  expect(said).toEqual([]);
  const part = (await counts("k6", "autogen")).http_reqs;
  expect(part).toBeGreaterThan(1);
  expect(part).toBeLessThan(requests);

  await copyPoints(rig.admin, "saved", "k6", (text) => said.push(text), signal);
  expect(said).toEqual([
    `InfluxDB: ${requests + 1} points of retention policy autogen`,
    "InfluxDB: 1 points of retention policy history",
    "InfluxDB: 1 points of retention policy mine",
  ]);
});

test("all that is not too old is there, beside what was", async () => {
  expect(await counts("k6", "autogen")).toEqual({ http_reqs: requests + 1, checks: 1 });
  expect(await counts("k6", "history")).toEqual({ k6_runs: 5 });
  expect(await counts("k6", "mine")).toEqual({ notes: 1 });
});

test("each as it was: its time, its tags, its values and their types", async () => {
  const [saved, copied] = await query(
    asAdmin(rig.admin),
    ["saved", "k6"]
      .map((database) => `SELECT * FROM "${database}"."history"."k6_runs" WHERE "testid" = 'old'`)
      .join("; "),
  );
  expect(copied).toEqual(saved);
  const [types, series] = await query(
    asAdmin(rig.admin),
    `SHOW FIELD KEYS FROM "history"."k6_runs"; SHOW SERIES FROM "http_reqs"`,
    "k6",
  );
  expect(types[0].values.sort()).toEqual([
    ...[
      ["count", "integer"],
      ["ok", "boolean"],
      ["outcome", "string"],
      ["p95", "float"],
    ],
  ]);
  expect(series[0].values.flat().sort()).toEqual([
    ...["a,testid=new", "a,testid=old", "b,testid=old"].map((tags) => `http_reqs,name=${tags}`),
  ]);
});
