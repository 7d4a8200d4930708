import { describe, expect, test } from "vitest";
import { type EngineEvent } from "../../scripts/events";
import { loadTestLine, previewMarkdown, previewOf } from "../../scripts/preview";

const urnOf = (type: string, name: string) => `urn:pulumi:dev::p::${type}::${name}`;
const loadTest = urnOf("coupon-load-test:index:LoadTest$command:local:Command", "load-test-run");
const step = (
  op: string,
  urn: string,
  before: object = {},
  after: object = before,
): EngineEvent => ({
  resourcePreEvent: {
    metadata: { op, urn, old: { inputs: { ...before } }, new: { inputs: { ...after } } },
  },
});
const request = (values: object) => ({ environment: { LOAD_TEST: JSON.stringify(values) } });
const of = (...events: EngineEvent[]) => previewOf(events, loadTest);
const stackItself = step("same", urnOf("pulumi:pulumi:Stack", "p-dev"));
const network = step("same", urnOf("docker:index/network:Network", "network"));

describe("a preview", () => {
  test("of nothing says so", () => {
    const provider = urnOf("pulumi:providers:pulumi-nodejs", "default");
    const preview = of(stackItself, network, step("update", provider, { rate: 1 }, { rate: 2 }));
    expect(preview).toEqual({ changes: [], unchanged: 2 });
    expect(loadTestLine(preview)).toBe(
      "the load test will not run: nothing that it depends on changes",
    );
    const text = previewMarkdown("dev", preview, "Resources:\n    2 unchanged");
    expect(text).toContain("**The load test will not run**");
    expect(text).toContain("0 to change, 2 unchanged");
    expect(text).not.toContain("````");
  });

  test("looks into JSON, down to what changes", () => {
    const model = (query: string) => ({
      configJson: JSON.stringify({ panels: [{ title: "p99" }, { targets: [{ query }] }] }),
    });
    const urn = urnOf("grafana:oss/dashboard:Dashboard", "dashboards-coupon-issue");
    const preview = of(step("update", urn, model("SELECT a | b"), model("SELECT c")), network);
    expect(preview.changes).toEqual([
      {
        op: "update",
        name: "dashboards-coupon-issue",
        what: [["configJson.panels[1].targets[0].query", "SELECT a | b", "SELECT c"]],
      },
    ]);
    expect(preview.loadTest).toBeUndefined();
    const text = previewMarkdown("dev", preview, " - SELECT a\n + SELECT c");
    expect(text).toContain(
      "| update | `dashboards-coupon-issue` | `configJson.panels[1].targets[0].query` |",
    );
    expect(text).toContain("````diff\n- SELECT a\n + SELECT c\n````");
  });

  test("tells why the load test runs, by its request's parts", () => {
    const [before, after] = [1000, 2000].map((rate) => request({ profile: { rate }, runId: "" }));
    const preview = of(step("replace", loadTest, before, after));
    expect(preview.loadTest).toEqual({
      why: "profile changed",
      what: [["profile.rate", "1000", "2000"]],
    });
    expect(loadTestLine(preview)).toBe("the load test will run: profile.rate 1000 => 2000");
    const text = previewMarkdown("dev", preview, "diff");
    expect(text).toContain("**The load test will run**: profile changed.");
    expect(text).toContain("| `profile.rate` | `1000` | `2000` |");
  });

  test.each([
    ["it has not run yet", step("create", loadTest, {}, request({ runId: "" }))],
    ["its last run failed", step("replace", loadTest, request({ runId: "" }))],
  ])("tells that the load test runs since %s", (why, event) => {
    const preview = of(event);
    expect(preview.loadTest?.why).toBe(why);
    expect(loadTestLine(preview)).toBe(`the load test will run: ${why}`);
  });

  test("tells that new passwords alone run no load test", () => {
    const preview = of(step("update", loadTest, { stdin: "[secret]" }, { stdin: "" }));
    expect(preview.loadTest).toBeUndefined();
    expect(preview.changes.map(({ op, name }) => [op, name])).toEqual([
      ["update", "load-test-run"],
    ]);
  });

  test("tells of a request that is not known yet", () => {
    const unknown = { environment: { LOAD_TEST: "04da6b54-80e4-46f7-96ec-b56ff0331ba9" } };
    const preview = of(step("replace", loadTest, request({ runId: "" }), unknown));
    expect(preview.loadTest?.why).toBe("its request changed");
    expect(loadTestLine(preview)).toContain("=> known after up");
  });

  test("counts a replacement once, and a removed load test as one that does not run", () => {
    const urn = urnOf("docker:index/container:Container", "grafana-container");
    const images = [{ image: "a" }, { image: "b" }] as const;
    const preview = of(
      step("delete-replaced", urn, ...images),
      step("replace", urn, ...images),
      step("create-replacement", urn, ...images),
      step("delete", loadTest, request({})),
    );
    expect(preview.changes.map(({ op, name }) => `${op} ${name}`)).toEqual([
      "replace grafana-container",
      "delete load-test-run",
    ]);
    expect(preview.changes[0].what).toEqual([["image", "a", "b"]]);
    expect(preview.loadTest).toBeUndefined();
  });

  test("leaves room in a comment, whatever the length of the diff", () => {
    const preview = of(step("create", urnOf("a:b:C", "d")));
    const text = previewMarkdown("dev", preview, "x".repeat(100_000));
    expect(text.length).toBeLessThan(50_000);
    expect(text).toContain("the rest is left out");
    expect(text.trimEnd().endsWith("</details>")).toBe(true);
  });
});
