/** Figures by route: what is asked, judged and shown. */
import { afterAll, describe, expect, test } from "vitest";
import { run } from "../../dashboards/queries";
import { defaultThresholds, parseRouteLimits, rules } from "../../k6/profile";
import { routeLines } from "../../runner/ledger";
import { markdown, routeComparison, table } from "../../runner/report";
import { judgeRoutes, measureRoutes, unknownRoutes } from "../../runner/routes";
import type { Route, Summary } from "../../runner/types";
import { answersOf, closeServers, credentials, fakeInfluxDb } from "../support/run";

const id = "dev-20260102T030405Z";

const route = (name: string, p95Ms: number, more: Partial<Route> = {}): Route => ({
  ...{ name, requests: 100, share: 0.25, rps: 10, failedRate: 0, avgMs: p95Ms / 2 },
  ...{ p95Ms, p99Ms: p95Ms * 2, ...more },
});

const summaryOf = (routes: Route[], limits = ""): Summary => ({
  ...{ id, verdict: "passed", regressions: [], warnings: [], routes },
  startedAt: "2026-01-02T03:04:05.000Z",
  thresholds: [
    ...rules(defaultThresholds).map((rule) => ({ ...rule, value: 1, passed: true })),
    ...judgeRoutes(parseRouteLimits(limits)!, routes),
  ],
});

/** The lines of the table by route. */
const shown = (summary: Summary) => {
  const lines = table(summary).split("\n");
  const start = lines.findIndex((line) => /^ {2}route/.test(line));
  return start < 0 ? [] : lines.slice(start, lines.indexOf("", start)).map((line) => line.trim());
};

afterAll(closeServers);

test("routes are measured by one question, the slowest first", async () => {
  const influxdb = await fakeInfluxDb(
    answersOf({}, [
      ["GET /quick", [3000, 300, 12, 15]],
      ["POST /slow", [9000, 100, 120, 180]],
    ]),
  );
  const asked = { range: { from: 0, to: 1 }, points: 400, seconds: 10 };
  const source = { influxdb, reader: credentials.reader };
  expect(await measureRoutes(source, run(id), asked)).toEqual([
    {
      ...{ name: "POST /slow", requests: 100, share: 0.25, rps: 10, failedRate: 0 },
      ...{ avgMs: 90, p95Ms: 120, p99Ms: 180 },
    },
    {
      ...{ name: "GET /quick", requests: 300, share: 0.75, rps: 30, failedRate: 0 },
      ...{ avgMs: 10, p95Ms: 12, p99Ms: 15 },
    },
  ]);
  expect(influxdb.seen).toHaveLength(1);
});

describe("limits of routes", () => {
  const routes = [route("POST /slow", 120), route("GET /quick", 12)];

  test("hold at the limit itself, and not above", () => {
    const limits = parseRouteLimits("POST /slow p95 120ms, POST /slow p99 0.2s")!;
    expect(judgeRoutes(limits, routes)).toMatchObject([
      {
        ...{ label: "p95 of POST /slow", value: 120, passed: true },
        ...{ metric: "http_req_duration{name:POST /slow}", expression: "p(95)<=120" },
      },
      { label: "p99 of POST /slow", value: 240, limit: 200, passed: false },
    ]);
  });

  test("of a route that no request had are named, with the routes that there were", () => {
    const limits = parseRouteLimits("POST /slwo p95 1s, GET /quick p95 1s, POST /slwo p99 1s")!;
    expect(judgeRoutes(limits, routes)).toHaveLength(1);
    expect(unknownRoutes(limits, routes)).toEqual([
      'no request had the route "POST /slwo" of routeLimits; there were "POST /slow", "GET /quick"',
    ]);
    expect(unknownRoutes(limits, [])[0]).toMatch(/ of routeLimits; there were none$/);
    expect(unknownRoutes([], routes)).toEqual([]);
  });
});

describe("the table by route", () => {
  test("is not shown for one route without limits", () => {
    expect(shown(summaryOf([route("GET /", 12)]))).toEqual([]);
  });

  test("has limits where there are some", () => {
    const limits = "POST /slow p95 100ms, POST /slow failed 1%";
    expect(shown(summaryOf([route("POST /slow", 120), route("GET /quick", 12)], limits))).toEqual([
      "route        requests   share   RPS    failed   average   p95      p99      limit",
      "POST /slow   100        25 %    10/s   0 %      60 ms     120 ms   240 ms   " +
        "p95 <= 100 ms FAILED, failed requests <= 1 % ok",
      "GET /quick   100        25 %    10/s   0 %      6 ms      12 ms    24 ms",
    ]);
  });

  test("sums what is beyond twenty, but for routes with limits", () => {
    const routes = Array.from({ length: 25 }, (_, at) =>
      route(`GET /${at}`, 100 - at, { share: 0.04, failedRate: at === 24 ? 0.4 : 0 }),
    );
    const lines = shown(summaryOf(routes, "GET /22 p95 1s"));
    expect(lines).toHaveLength(1 + 20 + 1 + 1);
    expect(lines[21]).toMatch(/^GET \/22 .* p95 <= 1000 ms ok$/);
    expect(lines[22]).toMatch(/^4 others +400 +16 % +40\/s +10 % +39 ms$/);
  });

  test("is Markdown that no route's name breaks", () => {
    const summary = summaryOf([route("GET /a|b", 12), route("GET /<b>\n\u001b[31m", 1)]);
    expect(markdown(summary)).toContain("| GET /a\\|b | 100 |");
    expect(markdown(summary)).toContain("| GET /&lt;b> [31m | 100 |");
  });

  test("is put beside that of another run", () => {
    const [a, b] = [[route("GET /a", 10), route("GET /old", 5)], [route("GET /a", 15)]];
    expect(routeComparison(a, b)).toEqual([
      ["route", "p95 of A", "p95 of B", "difference", "p99 of A", "p99 of B", "difference"],
      ["GET /a", "10 ms", "15 ms", "+50 %", "20 ms", "30 ms", "+50 %"],
      ["GET /old", "5 ms", "", "", "10 ms", "", ""],
    ]);
    expect(routeComparison(b, b)).toEqual([]);
  });
});

test("a route is a tag in the ledger, whatever its name is", () => {
  const startedAt = new Date("2026-01-02T03:04:05Z");
  const routes = [route("GET /a, b=c\n\\", 10, { failedRate: undefined })];
  const entry = {
    id,
    startedAt,
    endedAt: startedAt,
    verdict: "passed" as const,
    outcome: "passed",
  };
  expect(routeLines({ ...entry, routes })).toEqual([
    `k6_routes,testid=${id},name=GET\\ /a\\,\\ b\\=c\\ \\\\  ` +
      "requests=100,share=0.25,rps=10,avgMs=5,p95Ms=10,p99Ms=20 1767323045000000000",
  ]);
});
