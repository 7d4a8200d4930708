/** Pulumi's command line for one stack, as far as it needs no Pulumi. */
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Failure, Pulumi } from "../../scripts/pulumi";

const locks = ".state/.pulumi/locks/organization/coupon-load-test/dev";
const lock = path.join(locks, "one.json");
const before = { env: { ...process.env }, cwd: process.cwd() };
let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "pulumi-"));
  process.chdir(folder);
  fs.mkdirSync(locks, { recursive: true });
});
afterEach(() => {
  process.chdir(before.cwd);
  process.env = { ...before.env };
  fs.rmSync(folder, { recursive: true });
});

const selectBackend = () => new Pulumi("dev", { loadTestUrn: "", resources: 0 }).selectBackend();
function heldBy(pid: number, hostname = os.hostname()) {
  fs.writeFileSync(lock, JSON.stringify({ pid, hostname }));
  // As Pulumi leaves it beside each.
  fs.writeFileSync(`${lock}.attrs`, '{"user.content_type":"application/json"}');
}

test("the lock of a process that is no more is dropped", () => {
  heldBy(spawnSync("true").pid);
  selectBackend();
  expect(fs.existsSync(lock)).toBe(false);
});

test.each([
  ["of a process that works", () => heldBy(process.pid)],
  ["of another machine", () => heldBy(spawnSync("true").pid, "elsewhere")],
])("the lock %s stays", (_, hold) => {
  hold();
  selectBackend();
  expect(fs.existsSync(lock)).toBe(true);
});

test("the lock of a process that nobody has reaped is dropped", async ({ skip }) => {
  if (!fs.existsSync("/proc/self/stat")) skip("this system has no /proc");
  // A shell whose child has ended, and that becomes a program which does not look after it.
  const parent = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"]);
  try {
    const pid = await new Promise<number>((resolve) =>
      parent.stdout.once("data", (text) => resolve(Number(text))),
    );
    await vi.waitUntil(() => fs.readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z "));
    heldBy(pid);
    selectBackend();
    expect(fs.existsSync(lock)).toBe(false);
  } finally {
    parent.kill();
  }
});

test.each(["", '{"pid": 12'])("a torn lock (%s) is told in one line, and stays", (text) => {
  fs.writeFileSync(lock, text);
  expect(selectBackend).toThrow(
    new Failure(
      `the lock ${lock} is torn; if no other make or pulumi works on stack dev, remove it`,
    ),
  );
  expect(fs.existsSync(lock)).toBe(true);
});

describe("a checkpoint that was torn", () => {
  const file = ".state/.pulumi/stacks/coupon-load-test/dev.json";
  const [torn, whole] = ['{"version":3,"check', '{"version":3}'];
  const read = () => fs.readFileSync(file, "utf8");
  let said: string[];

  beforeEach(() => {
    said = [];
    vi.spyOn(console, "log").mockImplementation((text) => void said.push(text));
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(`${file}.bak`, whole);
  });
  afterEach(() => vi.restoreAllMocks());

  test.each([torn, ""])("as %j is the one of before, which is said", (left) => {
    fs.writeFileSync(file, left);
    selectBackend();
    expect(read()).toBe(whole);
    expect(said).toEqual([
      "the state of dev was torn when Pulumi was killed; it is that of a step before\n",
    ]);
  });

  test("is left alone while another one writes it, or without a whole one of before", () => {
    fs.writeFileSync(file, torn);
    heldBy(process.pid);
    selectBackend();
    expect(read()).toBe(torn);
    fs.rmSync(lock);
    fs.writeFileSync(`${file}.bak`, torn);
    selectBackend();
    expect(read()).toBe(torn);
    expect(said).toEqual([]);
  });

  test("is not one that is whole, nor one of a stack that was removed", () => {
    fs.writeFileSync(file, '{"version":4}');
    selectBackend();
    expect(read()).toBe('{"version":4}');
    fs.rmSync(file);
    selectBackend();
    expect(fs.existsSync(file)).toBe(false);
  });
});
