/** What the documentation promises is what the project has: keys, commands, messages, files. */
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { parseConfig } from "../../config";
import { defaultThresholds, type Figures, rules } from "../../k6/profile";
import { table } from "../../runner/report";
import type { Summary } from "../../runner/types";
import { mirrorList } from "../../scripts/mirror-list";
import { explained, isOf, messages, pages } from "../../scripts/reference";
import { readSettings } from "../../scripts/settings";

const root = path.resolve(__dirname, "../..");
const read = (file: string) => fs.readFileSync(path.join(root, file), "utf8");

/** The files of a folder, without those in folders that are made. */
function filesIn(folder: string, ending: RegExp): string[] {
  const made = /^(node_modules|build|runs|backups|\.git|\.state|\.parts)$/;
  return fs.readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return made.test(entry.name) ? [] : filesIn(file, ending);
    return ending.test(entry.name) ? [file] : [];
  });
}

const made = ["preview.md", "comment.md"];
const documents = filesIn(".", /\.md$/).filter((file) => !made.includes(file));

/** A document without its blocks of code. */
const prose = (file: string) => read(file).replace(/^( *)(```+)[^\n]*\n.*?^\1\2$/gms, "");

/** The rows of each of a document's tables, with the table's header first. */
function tables(file: string): string[][][] {
  const found: string[][][] = [];
  let inTable = false;
  for (const line of read(file).split("\n")) {
    const isRow = line.startsWith("|");
    if (isRow && !inTable) found.push([]);
    if (isRow && !/^[|\s:-]+$/.test(line)) {
      const cells = line.split("|").slice(1, -1);
      found.at(-1)!.push(cells.map((cell) => cell.trim()));
    }
    inTable = isRow;
  }
  return found;
}

/** The rows of every table whose first column has this name. */
function rows(file: string, ...firstColumn: string[]): string[][] {
  const own = tables(file).filter(([header]) => firstColumn.includes(header[0]));
  expect(own.length, `a table of ${firstColumn.join(" or ")} in ${file}`).toBeGreaterThan(0);
  return own.flatMap(([, ...body]) => body);
}

const unquoted = (text: string) => text.replaceAll("`", "");

const declared: Record<string, unknown> = parse(read("Pulumi.yaml")).config;

describe.each(["README.md", "README.ko.md"])("%s", (file) => {
  test("is short and narrow", () => {
    const lines = read(file).split("\n");
    expect(lines.length).toBeLessThanOrEqual(200);
    expect(lines.filter((line) => [...line].length > 160)).toEqual([]);
  });

  test("has the commands of make", () => {
    const commands = [...read("Makefile").matchAll(/^([a-z-]+):.*## (.*)$/gm)];
    const [first, ...rest] = commands.map(([, name, meaning]) => [
      `make ${name}`,
      unquoted(meaning),
    ]);
    const shown = rows(file, "Command", "명령").map((cells) => cells.map(unquoted));
    const expected = [...rest, first];
    expect(shown.map(([command]) => command)).toEqual(expected.map(([command]) => command));
    // In English in the words of `make help`.
    if (file === "README.md") expect(shown).toEqual(expected);
    else for (const [command, meaning] of shown) expect(meaning, command).toMatch(/[가-힣]/);
  });

  test("names the commands that people and continuous integration look for", () => {
    for (const command of ["make up", "make rehearse", "make test"]) {
      expect(read(file)).toMatch(new RegExp(`^${command}( |$)`, "m"));
    }
  });

  test("names keys that there are", () => {
    const named = rows(file, "Key", "키").flatMap(([keys]) => unquoted(keys).split(", "));
    expect(named.filter((key) => !(key in declared))).toEqual([]);
  });
});

test("README.md shows a verdict as it is printed", () => {
  const [, shown] = /^```text\n(run .*?)\n\ndashboard /ms.exec(read("README.md"))!;
  const [, id] = /^run (\S+): passed/.exec(shown)!;
  const number = (label: string) => Number(new RegExp(`\\b${label} +([\\d.]+)`).exec(shown)![1]);
  const share = (label: string) => number(label) / 100;
  const measured: Figures = {
    ...{ p99Ms: number("p99"), p95Ms: number("p95"), avgMs: number("average") },
    ...{ rps: number("RPS"), requests: number("requests(?=.*>=)") },
    ...{ failedRate: share("failed requests"), checksRate: share("passed checks") },
    droppedIterations: number("dropped iterations"),
  };
  const summary: Summary = {
    ...{ id, verdict: "passed", regressions: [], warnings: [], startedAt: "", ...measured },
    thresholds: rules(defaultThresholds).map((rule) => ({
      ...{ ...rule, value: measured[rule.figure], passed: true },
    })),
    generator: {
      ...{ cores: 2, k6Cores: number("k6"), storeCores: number("InfluxDB") },
      ...{ machine: share("machine"), lateMs: 0, short: 0 },
    },
  };
  expect(shown).toBe(table(summary));
});

describe("the two READMEs", () => {
  const both = <Part>(part: (text: string, file: string) => Part) => {
    const files = ["README.md", "README.ko.md"];
    const [english, korean] = files.map((file) => part(read(file), file));
    expect(korean).toEqual(english);
    expect(english).not.toEqual([]);
  };

  test("have the same headings, by their levels", () => {
    both((_, file) => [...prose(file).matchAll(/^(#+) /gm)].map(([, level]) => level));
  });

  test("have the same blocks of code, but for their comments", () => {
    both((text) =>
      [...text.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, block]) =>
        block.replace(/ +#.*$/gm, ""),
      ),
    );
  });

  test("name the same commands and keys", () => {
    both((_, file) => {
      const spans = [...prose(file).matchAll(/`([^`]+)`/g)].map(([, span]) => span);
      return [...new Set(spans.filter((span) => /^make /.test(span) || span in declared))].sort();
    });
  });

  test("lead to the same pages, and show the same picture", () => {
    both((text) =>
      [...text.matchAll(/\]\(([^)#\s]+)/g)]
        .map(([, link]) => link)
        .filter((link) => !link.startsWith("README")),
    );
  });
});

describe("npm run docs", () => {
  test("has written what the code says", () => {
    for (const [file, text] of Object.entries(pages(root))) {
      expect(read(file), `${file}: run npm run docs`).toBe(text);
    }
  });

  test("knows the messages that are thrown", () => {
    const all = messages(root);
    expect(all.get("runner/docker.ts")).toContain("docker … failed: …");
    // Of a condition both ends, of a sum all parts, each once.
    expect(all.get("scripts/stack.ts")).toContain("stack … is not up: run make up first");
    expect(all.get("runner/cluster.ts")).toEqual(
      expect.arrayContaining([
        "the cluster has no k6 operator: it knows no TestRun of k6.io/v1alpha1",
        "the cluster refuses …: …",
      ]),
    );
  });
});

test("docs/closed-networks.md lists what the default stack fetches", () => {
  const config = parseConfig(readSettings("dev", []), root);
  const [, listed] = /<!-- mirror-list -->\n+```text\n(.*)\n```\n+<!-- \/mirror-list -->/s.exec(
    read("docs/closed-networks.md"),
  )!;
  expect(listed.split("\n")).toEqual(mirrorList(config, { platform: "linux", arch: "x64" }));
});

describe("docs/troubleshooting.md", () => {
  const folders = ["components", "rehearsal", "runner", "scripts"];
  const sources = ["config.ts", "values.ts", "Makefile"].concat(
    folders.flatMap((folder) =>
      fs.readdirSync(path.join(root, folder)).map((name) => path.join(folder, name)),
    ),
  );
  // A text that is written in several lines is joined, as it is when it is said.
  const said = sources
    .map(read)
    .join("\n")
    .replaceAll(/["'`]\s*\+\s*["'`]/g, "")
    .replaceAll("${side}", "over")
    .replaceAll("${k6}", "k6");
  /** Rows of the table that `make up` shows are said as "<name> <found>: <todo>". */
  const checked = /^(Docker|Pulumi CLI|disk …|port …|context …|k6 operator|…) /;
  const thrown = [...messages(root).values()].flat();

  const [own, others] = read("docs/troubleshooting.md").split("## From Docker and Pulumi");

  test.each(explained(own))("explains what the source says: %s", (message) => {
    if (thrown.some((each) => isOf(message, each))) return;
    const parts = message.replace(checked, "").split(/…|: |\b\d+\b/);
    const literal = parts.map((part) => part.trim()).filter((part) => part.length > 5);
    expect(literal).not.toEqual([]);
    expect(literal.filter((part) => !said.includes(part))).toEqual([]);
  });

  test("explains each message once", () => {
    const all = [...explained(own), ...explained(others)];
    expect(all.filter((message, at) => all.indexOf(message) !== at)).toEqual([]);
  });
});

describe("the links", () => {
  /** GitHub's anchors of a document's headings: a second one of the same text gets a number. */
  function anchors(file: string): string[] {
    const seen = new Map<string, number>();
    return [...prose(file).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => {
      const text = heading.replace(/\]\([^)]*\)/g, "").toLowerCase();
      const anchor = text.replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");
      const before = seen.get(anchor) ?? 0;
      seen.set(anchor, before + 1);
      return before ? `${anchor}-${before}` : anchor;
    });
  }

  test.each(documents)("of %s lead somewhere", (file) => {
    for (const [, link] of prose(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [target, heading] = link.split("#");
      const linked = target ? path.join(path.dirname(file), target) : file;
      expect(fs.existsSync(path.join(root, linked)), `${link} in ${file}`).toBe(true);
      if (heading) expect(anchors(linked), `${link} in ${file}`).toContain(heading);
    }
  });

  test("of docs/README.md lead to every page", () => {
    const linked = [...read("docs/README.md").matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, to]) => to);
    const there = fs.readdirSync(path.join(root, "docs")).filter((name) => name.endsWith(".md"));
    expect(linked.sort()).toEqual(there.filter((name) => name !== "README.md").sort());
  });

  test("of sources lead somewhere", () => {
    // A test's own, which it makes.
    const known = ["docs/new.md"];
    const lost = filesIn(".", /\.(ts|js|sh|ya?ml)$|^Makefile$/).flatMap((file) =>
      [...read(file).matchAll(/\bdocs\/[\w-]+\.md\b/g)]
        .map(([page]) => page)
        .filter((page) => !known.includes(page) && !fs.existsSync(path.join(root, page)))
        .map((page) => `${page} in ${file}`),
    );
    expect(lost).toEqual([]);
  });
});

/** Tables that programs write, and that of architecture, are as wide as what is in them. */
const wide = /^docs\/(architecture|benchmarks|decisions|reliability|scale)\.md$|^test\/corpus/;

test.each(documents.filter((file) => !wide.test(file)))("the tables of %s are narrow", (file) => {
  const lines = read(file).split("\n");
  expect(lines.filter((line) => line.startsWith("|") && line.length > 160)).toEqual([]);
});

test("the picture is small", () => {
  expect(fs.statSync(path.join(root, "docs/dashboard.png")).size).toBeLessThan(200_000);
});

describe("the rooms of docs/architecture.md", () => {
  const named = new Set(
    rows("docs/architecture.md", "Place").flatMap(([place]) =>
      [...place.matchAll(/`([^`]+)`/g)].map(([, name]) => name),
    ),
  );

  test("are there", () => {
    for (const place of named) expect(fs.existsSync(path.join(root, place)), place).toBe(true);
  });

  test.each(["components", "dashboards", "k6", "rehearsal", "runner", "scripts"])(
    "name all of %s/",
    (folder) => {
      const files = fs.readdirSync(path.join(root, folder)).filter((name) => name.endsWith(".ts"));
      expect(files.map((name) => `${folder}/${name}`).filter((name) => !named.has(name))).toEqual(
        [],
      );
    },
  );
});
