import fc from "fast-check";
import { expect, test } from "vitest";
import * as queries from "../../dashboards/queries";
import { run, type Scope } from "../../dashboards/queries";

const { panel } = queries;
/** What a panel reads: the chosen runs and routes. */
const chosen = `"testid" =~ /^\${testid:regex}$/ AND "name" =~ /^\${name:regex}$/ AND $timeFilter`;

const both: Record<string, (scope: Scope) => string> = {
  p95: (scope) => queries.durationPercentile(95, scope),
  mean: queries.durationMean,
  count: queries.requestCount,
  failed: queries.failedShare,
  dropped: queries.droppedIterations,
  first: queries.firstRequest,
};

test("panel queries are InfluxQL with Grafana's time range and interval", () => {
  expect(queries.durationPercentile(99, panel)).toBe(
    `SELECT percentile("value", 99) FROM "http_req_duration" WHERE ${chosen} GROUP BY time($__interval), "testid" fill(null)`,
  );
  expect(queries.durationPercentile(95, panel)).toBe(
    `SELECT percentile("value", 95) FROM "http_req_duration" WHERE ${chosen} GROUP BY time($__interval), "testid" fill(null)`,
  );
  expect(queries.durationMean(panel)).toBe(
    `SELECT mean("value") FROM "http_req_duration" WHERE ${chosen} GROUP BY time($__interval), "testid" fill(null)`,
  );
});

test("the request rate is the sum per second of the interval, and 0 without requests", () => {
  expect(queries.requestRate(panel)).toBe(
    `SELECT sum("value") * 1000 * pow($__interval_ms, -1) FROM "http_reqs" WHERE ${chosen} GROUP BY time($__interval), "testid" fill(0)`,
  );
});

test("panel queries have no slash but around regular expressions, which Grafana's page looks for", () => {
  const all = [
    ...Object.values(both).map((query) => query(panel)),
    queries.requestRate(panel),
    queries.toldFigure("rps"),
    queries.toldSoFar("p99"),
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
  expect(queries.totals(["checks", "http_reqs"], scope)).toBe(
    `SELECT sum("value"), count("value") FROM "checks", "http_reqs" ${where}`,
  );
  expect(queries.droppedIterations(scope)).toBe(
    `SELECT sum("value") FROM "dropped_iterations" ${where}`,
  );
  expect(queries.firstRequest(scope)).toBe(
    `SELECT first("value") FROM "http_req_duration" ${where}`,
  );
});

test.each(Object.entries(both))("%s is the same figure in a panel and of a run", (_, query) => {
  const [figure, range] = query(panel).split(" WHERE ");
  expect(range).toBe(`${chosen} GROUP BY time($__interval), "testid" fill(null)`);
  // Whatever can be a run id.
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Za-z0-9_-]+$/), (id) => {
      expect(query(run(id))).toBe(`${figure} WHERE "testid" = '${id}'`);
    }),
  );
});

test("the figures of a whole run are told apart by run", () => {
  expect(queries.durationMean(queries.wholeRange)).toBe(
    `SELECT mean("value") FROM "http_req_duration" WHERE ${chosen} GROUP BY "testid"`,
  );
});

test("figures that the runner tells are read by the length of the panel's interval", () => {
  expect(queries.toldFigure("p95")).toBe(
    `SELECT last("p95_$__interval_ms") FROM "history"."k6_progress" WHERE ${chosen} ` +
      `GROUP BY time($__interval), "testid" fill(null)`,
  );
  expect(queries.toldSoFar("rps")).toBe(
    `SELECT last("rps") FROM "history"."k6_progress" WHERE ${chosen} GROUP BY "testid"`,
  );
});
