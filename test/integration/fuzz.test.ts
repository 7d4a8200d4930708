/** What the unit tests' readers say of quoting, said by InfluxDB itself. */
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { history, ledger } from "../../dashboards/queries";
import { literal, identifier, query, write } from "../../runner/influxdb";
import { ledgerPoint } from "../../runner/ledger";
import { asAdmin } from "../../runner/schema";
import { anyText, entryOf, wellFormed } from "../support/anything";
import { pointOf } from "../support/line-protocol";
import { findParts, Rig } from "../support/rig";

let missing: string | undefined;
let rig: Rig;

beforeAll(async () => {
  const found = await findParts();
  if ("missing" in found) return void (missing = found.missing);
  rig = await Rig.start(found.parts);
}, 600_000);

beforeEach((context) => context.skip(missing !== undefined, missing));
afterAll(() => rig?.stop());

const idOf = (number: number) => `dev-20260102T${String(number).padStart(6, "0")}Z`;

test("runs of any text and figures come back from the ledger as they were written", async () => {
  const { database, credentials } = await rig.store();
  const request = rig.request({ database, credentials }, "http://127.0.0.1:1");
  const made = fc.sample(fc.tuple(entryOf(""), anyText.map(wellFormed)), 400);
  const points = made.map(([entry, commit], number) =>
    ledgerPoint(request, { ...entry, id: idOf(number) }, commit),
  );
  const connection = { url: rig.admin.url, ...credentials.writer };
  for (const point of points) await write(connection, database, point, history);

  const [[{ columns, values }]] = await rig.ask(database, `SELECT * FROM ${ledger}`);
  expect(values).toHaveLength(points.length);
  const stored = new Map(
    values.map((row) => {
      const given = columns.flatMap((column, at) => (row[at] === null ? [] : [[column, row[at]]]));
      const { time: _, ...rest } = Object.fromEntries(given);
      return [rest.testid, rest];
    }),
  );
  points.forEach((point, number) => {
    const { tags, fields } = pointOf(point);
    expect(stored.get(idOf(number))).toEqual({ ...tags, ...fields });
  });
});

test("any text is found by its literal, any name by its identifier, or refused", async () => {
  const { database } = await rig.store();
  const as = asAdmin(rig.admin);
  const text = anyText.map((each) => wellFormed(each).slice(0, 5000)).map(wellFormed);
  const escaped = (field: string) => field.replace(/[\\"]/g, "\\$&");
  let number = 0;
  await fc.assert(
    fc.asyncProperty(text, async (value) => {
      const name = `m${number++}`;
      await write(as, database, `${name} text="${escaped(value)}",n=${number}`);
      const column = identifier(`x${value}`);
      const found = `SELECT "n", "text" AS ${column} FROM "${name}" WHERE "text" = ${literal(value)}`;
      const asked = query(as, found, database);
      if (/[\0\r]/.test(value)) {
        // InfluxDB repeats what it cannot read in a header, too, where Node takes no control character.
        await expect(asked).rejects.toThrow(/error parsing query|Invalid header value char/);
        return;
      }
      const answers = await asked;
      expect(answers).toHaveLength(1);
      expect(answers[0][0].columns).toEqual(["time", "n", `x${value}`]);
      expect(answers[0][0].values.map(([, ...row]) => row)).toEqual([[number, value]]);
    }),
    { numRuns: 300 },
  );
});
