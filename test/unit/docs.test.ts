/** What the documentation promises is what the project has: keys, commands, messages, files. */
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { parseConfig } from "../../config";
import { mirrorList } from "../../scripts/mirror-list";
import { readSettings } from "../../scripts/settings";

const root = path.resolve(__dirname, "../..");
const read = (file: string) => fs.readFileSync(path.join(root, file), "utf8");

const readmes = ["README.md", "README.ko.md"];
const documents = [
  ...readmes,
  "docs/architecture.md",
  "docs/benchmarks.md",
  "docs/decisions.md",
  "docs/kubernetes.md",
  "docs/long-runs.md",
  "docs/operations.md",
  "docs/reliability.md",
  "docs/scale.md",
  "docs/scripts.md",
];

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

const unquoted = (cell: string) => cell.replace(/^`(.*)`$/, "$1");

describe("the configuration table", () => {
  const declared: Record<string, { default: unknown; description: string }> = parse(
    read("Pulumi.yaml"),
  ).config;

  test.each(readmes)("of %s has the keys and defaults of Pulumi.yaml, in its order", (file) => {
    const shown = rows(file, "Key", "키").map(([key, value]) => [unquoted(key), unquoted(value)]);
    const expected = Object.entries(declared).map(([key, { default: value }]) => [
      key,
      value === "" ? '""' : String(value),
    ]);
    expect(shown).toEqual(expected);
  });

  test("of README.md says what Pulumi.yaml says", () => {
    const shown = rows("README.md", "Key").map(([key, , meaning]) => [unquoted(key), meaning]);
    const expected = Object.entries(declared).map(([key, { description }]) => [key, description]);
    expect(shown).toEqual(expected);
  });

  test("of README.ko.md gives every key a meaning", () => {
    for (const [key, , meaning] of rows("README.ko.md", "키"))
      expect(meaning, key).toMatch(/[가-힣]/);
  });
});

describe("the commands table", () => {
  const commands = [...read("Makefile").matchAll(/^([a-z-]+):.*## /gm)].map(([, name]) => name);

  test.each(readmes)("of %s has the commands of make", (file) => {
    const shown = rows(file, "Command", "명령").map(([command]) => unquoted(command));
    expect(shown.sort()).toEqual(commands.map((name) => `make ${name}`).sort());
  });
});

test("docs/operations.md lists what the default stack fetches", () => {
  const config = parseConfig(readSettings("dev", []), root);
  const [, listed] = /<!-- mirror-list -->\n+```text\n(.*)\n```\n+<!-- \/mirror-list -->/s.exec(
    read("docs/operations.md"),
  )!;
  expect(listed.split("\n")).toEqual(mirrorList(config, { platform: "linux", arch: "x64" }));
});

describe("the messages", () => {
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

  const ownMessages = (file: string) => {
    const [own] = tables(file).filter(([[header]]) => ["Message", "메시지"].includes(header));
    return own.slice(1).map(([message]) => unquoted(message));
  };

  test.each(["README.md", "docs/scripts.md"].flatMap(ownMessages))(
    "%s is said by the source",
    (message) => {
      const parts = message.replace(checked, "").split(/…|: |\b\d+\b/);
      const literal = parts.map((part) => part.trim()).filter((part) => part.length > 5);
      expect(literal).not.toEqual([]);
      expect(literal.filter((part) => !said.includes(part))).toEqual([]);
    },
  );

  test("are the same in both languages", () => {
    expect(ownMessages("README.ko.md")).toEqual(ownMessages("README.md"));
  });
});

describe("the links", () => {
  /** GitHub's anchor of a heading. */
  const anchor = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-");
  const anchors = (file: string) =>
    [...read(file).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchor(heading));

  test.each(documents)("of %s lead somewhere", (file) => {
    for (const [, link] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [target, heading] = link.split("#");
      const linked = target ? path.join(path.dirname(file), target) : file;
      expect(fs.existsSync(path.join(root, linked)), `${link} in ${file}`).toBe(true);
      if (heading) expect(anchors(linked), `${link} in ${file}`).toContain(heading);
    }
  });

  test("the picture is small", () => {
    expect(fs.statSync(path.join(root, "docs/dashboard.png")).size).toBeLessThan(200_000);
  });
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
