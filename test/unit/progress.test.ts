/** What people see of Pulumi's work, by its engine's events. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { defaultProfile } from "../../k6/profile";
import { type EngineEvent, newEvents } from "../../scripts/events";
import { Progress } from "../../scripts/progress";

const loadTestUrn = "urn:pulumi:dev::p::coupon-load-test:index:LoadTest$command:local:Command::run";
const container = "urn:pulumi:dev::p::docker:index/container:Container::grafana-container";
const group = "urn:pulumi:dev::p::coupon-load-test:docker:Service::grafana";

const begins = (op: string, urn: string): EngineEvent => ({
  resourcePreEvent: { metadata: { op, urn } },
});
const ends = (op: string, urn: string): EngineEvent => ({
  resOutputsEvent: { metadata: { op, urn } },
});
const says = (message: string, urn = loadTestUrn, severity = "info"): EngineEvent => ({
  diagnosticEvent: { severity, message, urn },
});

afterEach(() => vi.restoreAllMocks());

describe("without a terminal", () => {
  const said = (...events: EngineEvent[]) => {
    const lines: string[] = [];
    vi.spyOn(console, "log").mockImplementation((line) => lines.push(line));
    const progress = new Progress({ loadTestUrn, profile: defaultProfile, resources: 2 }, 2, 0);
    for (const event of events) progress.take(event);
    progress.end();
    return lines;
  };

  test("there is a line for each thing done, and none for what is as it was", () => {
    const lines = said(
      ...[begins("create", group), ends("create", group)],
      ...[begins("create", container), ends("create", container)],
      ...[begins("same", container), ends("same", container)],
    );
    expect(lines).toEqual([expect.stringMatching(/^  created {3}grafana-container +0\.0 s$/)]);
  });

  test("the runner's lines are said as they are", () => {
    expect(said(begins("create", loadTestUrn), says("5 s: 80 requests\n"))).toEqual([
      "  5 s: 80 requests",
    ]);
  });

  test("errors are said, warnings are left to the log", () => {
    const warning = says("a plugin is old", container, "warning");
    const error = says("<{%reset%}>port is taken<{%reset%}>\n", container, "error");
    expect(said(warning, error)).toEqual(["port is taken"]);
  });

  test("it is summed up as Pulumi does", () => {
    const resourceChanges = { same: 30, create: 4, replace: 1 };
    expect(said({ summaryEvent: { resourceChanges } })).toEqual([
      ...["    + 4 created", "   +- 1 replaced", "      30 unchanged"],
    ]);
  });
});

test("events are read once each, and a line that is still written later", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "events-"));
  const file = path.join(folder, "events");
  const news = newEvents(file);
  expect(news()).toEqual([]);
  const [first, second] = [says("한"), says("둘")].map((event) => JSON.stringify(event));
  const bytes = Buffer.from(`${first}\n${second}\n`);
  // Within a letter.
  const cut = bytes.indexOf("둘") + 1;
  fs.writeFileSync(file, bytes.subarray(0, cut));
  expect(news()).toEqual([says("한")]);
  fs.appendFileSync(file, bytes.subarray(cut));
  expect(news()).toEqual([says("둘")]);
  expect(news()).toEqual([]);
  fs.rmSync(folder, { recursive: true });
});
