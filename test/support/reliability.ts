/** The table of faults: what tests of faults have seen, as Markdown. */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { root } from "../../root";
import { markdownTable } from "../../runner/report";

/** This repository. */

const partsFolder = path.join(root, "build/e2e/reliability");

/** What came of a fault. */
export interface Outcome {
  fault: string;
  expected: string;
  /** The last line of the command, or the figure that tells. */
  seen: string;
  /**
   * Points that InfluxDB had taken and has no more, where they were counted; other points that are
   * missing are in the line.
   */
  lost?: number;
}

/** The rows of one test file, each added when its test has seen it. */
export class FaultTable {
  private readonly rows: string[][] = [];

  constructor(private readonly name: string) {}

  /** @param hidden texts that are different on each machine or in each run, by what to write instead */
  add({ fault, expected, seen, lost }: Outcome, hidden: Record<string, string> = {}) {
    let shown = seen.replace(/-\d{8}T\d{6}Z/g, "-<time>");
    for (const [instead, text] of Object.entries(hidden)) {
      shown = shown.replaceAll(text, `<${instead}>`);
    }
    const cell = (text: string) => text.replace(/\s+/g, " ").replace(/\|/g, "\\|");
    const row = [fault, expected, `\`${shown.replace(/`/g, "'")}\``, lost?.toString() ?? "-"];
    this.rows.push(row.map(cell));
  }

  /**
   * Writes the table of all files that were run: build/e2e/reliability.md, or the file that the
   * environment variable RELIABILITY names.
   */
  write() {
    fs.mkdirSync(partsFolder, { recursive: true });
    const part = path.join(partsFolder, `${this.name}.json`);
    fs.writeFileSync(part, JSON.stringify({ rows: this.rows.sort(), at: new Date() }));
    const parts = fs.readdirSync(partsFolder).sort();
    const sections = parts.map((file) => {
      const { rows, at } = JSON.parse(fs.readFileSync(path.join(partsFolder, file), "utf8"));
      const header = ["Fault", "Expected", "Seen", "Points lost"];
      const from = `From \`test/${file.replace("-", "/").replace(".json", ".test.ts")}\``;
      return `${from}, run on ${at.slice(0, 10)}:\n\n${markdownTable([header, ...rows])}\n`;
    });
    const target = process.env.RELIABILITY ?? path.join(root, "build/e2e/reliability.md");
    fs.writeFileSync(target, `${introduction}\n${sections.join("\n")}`);
    // As all files of the project are formatted.
    execFileSync(path.join(root, "node_modules/.bin/prettier"), ["--write", target]);
  }
}

const introduction = `# Reliability

What happens when a part fails. Each row is a test that caused the fault on the real parts and saw what came of it. The tests wrote this file:

\`\`\`sh
RELIABILITY=docs/reliability.md npx vitest run test/integration/faults.test.ts test/e2e/faults.test.ts test/e2e/kubernetes.test.ts
\`\`\`

"Seen" is the last line of \`make\` or of the run, or the figure that shows the outcome. What differs from machine to machine is in angle brackets. "Points lost" counts points that InfluxDB had before the fault and no longer has after it, where the test counted them. It does not count requests whose points never reached InfluxDB: those fail the run, and the line names them.
`;
