import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as queries from "../../dashboards/queries";
import { run, type Scope } from "../../dashboards/queries";

const panel = queries.panel("30d");
/** What a panel reads: the chosen runs and routes, as long as their points are kept. */
const chosen = `"testid" =~ /^\${testid:regex}$/ AND "name" =~ /^\${name:regex}$/ AND $timeFilter`;
const kept = `${chosen} AND time >= now() - 30d`;

const both: Record<string, (scope: Scope) => string> = {
  p95: (scope) => queries.durationPercentile(95, scope),
  mean: queries.durationMean,
  count: queries.requestCount,
  failed: queries.failedShare,
  checks: queries.passedChecksShare,
  dropped: queries.droppedIterations,
  first: queries.firstRequest,
};

test("panel queries are InfluxQL with Grafana's time range and interval", () => {
  expect(queries.durationPercentile(99, panel)).toBe(
    `SELECT percentile("value", 99) FROM "http_req_duration" WHERE ${kept} GROUP BY time($__interval), "testid" fill(null)`,
  );
  expect(queries.durationPercentile(95, panel)).toBe(
    `SELECT percentile("value", 95) FROM "http_req_duration" WHERE ${kept} GROUP BY time($__interval), "testid" fill(null)`,
  );
  expect(queries.durationMean(panel)).toBe(
    `SELECT mean("value") FROM "http_req_duration" WHERE ${kept} GROUP BY time($__interval), "testid" fill(null)`,
  );
});

test("the request rate is the sum per second of the interval, and 0 without requests", () => {
  expect(queries.requestRate(panel)).toBe(
    `SELECT sum("value") * 1000 * pow($__interval_ms, -1) FROM "http_reqs" WHERE ${kept} GROUP BY time($__interval), "testid" fill(0)`,
  );
});

test("panel queries have no slash but around regular expressions, which Grafana's page looks for", () => {
  const old = queries.panelOfHistory("30d");
  const all = [
    ...Object.values(both).map((query) => query(panel)),
    queries.requestRate(panel),
    queries.rolledMean(old),
    queries.rolledPercentile(99, old),
    queries.rolledRequestRate(old),
  ];
  for (const query of all) expect(query.replace(/=~ \/\^[^/]*\$\//g, ""), query).not.toContain("/");
});

test("run queries give one value for the points of that run", () => {
  const scope = run("dev-20260102T030405Z");
  const where = `WHERE "testid" = 'dev-20260102T030405Z'`;
  expect(queries.durationPercentile(99, scope)).toBe(
    `SELECT percentile("value", 99) FROM "http_req_duration" ${where}`,
  );
  expect(queries.durationMean(scope)).toBe(
    `SELECT mean("value") FROM "http_req_duration" ${where}`,
  );
  expect(queries.requestCount(scope)).toBe(`SELECT sum("value") FROM "http_reqs" ${where}`);
  expect(queries.failedShare(scope)).toBe(`SELECT mean("value") FROM "http_req_failed" ${where}`);
  expect(queries.passedChecksShare(scope)).toBe(`SELECT mean("value") FROM "checks" ${where}`);
  expect(queries.droppedIterations(scope)).toBe(
    `SELECT sum("value") FROM "dropped_iterations" ${where}`,
  );
  expect(queries.firstRequest(scope)).toBe(
    `SELECT first("value") FROM "http_req_duration" ${where}`,
  );
});

test.each(Object.entries(both))("%s is the same figure in a panel and of a run", (_, query) => {
  const [figure, range] = query(panel).split(" WHERE ");
  expect(range).toBe(`${kept} GROUP BY time($__interval), "testid" fill(null)`);
  // Whatever can be a run id.
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Za-z0-9_-]+$/), (id) => {
      expect(query(run(id))).toBe(`${figure} WHERE "testid" = '${id}'`);
    }),
  );
});

test("the figures of a whole run are told apart by run", () => {
  expect(queries.durationMean(queries.wholeRange("30d"))).toBe(
    `SELECT mean("value") FROM "http_req_duration" WHERE ${kept} GROUP BY "testid"`,
  );
});

describe("rollups", () => {
  const old = queries.panelOfHistory("30d");

  test("are made of all requests, with all tags, into the policy that is kept longer", () => {
    const { select } = queries.durationRollup("k6");
    expect(select).toContain(`INTO "k6"."history"."http_req_duration"`);
    expect(select).toMatch(/GROUP BY time\(10s\), \*$/);
  });

  test("are read where raw points are no more, and nowhere else", () => {
    for (const query of [queries.rolledMean(old), queries.rolledPercentile(99, old)]) {
      expect(query).toContain(`FROM "history"."http_req_duration" WHERE ${chosen} AND`);
      expect(query).toContain("AND time < now() - 30d GROUP BY");
    }
  });

  test("give the rate as the mean of counts that are 0 where there are none", () => {
    expect(queries.rolledRequestRate(old)).toBe(
      `SELECT mean("requests") * 0.1 FROM (SELECT sum("count") AS "requests" ` +
        `FROM "history"."http_req_duration" WHERE ${chosen} AND time < now() - 30d ` +
        `GROUP BY time(10s), "testid" fill(0)) ` +
        `WHERE $timeFilter GROUP BY time($__interval), "testid" fill(none)`,
    );
  });
});
