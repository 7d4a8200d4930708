/** Known weaknesses of the packages that a stack runs with, as npm's registry knows them. */
import { execFile } from "node:child_process";
import { expect, test } from "vitest";

interface Audit {
  /** By package; none when the registry did not answer. */
  vulnerabilities?: Record<string, { severity: string; range: string }>;
  message?: string;
  error?: { summary?: string };
}

test("no package of a stack has a known weakness that is high or critical", async ({ skip }) => {
  // It ends with an error for any finding.
  const printed = await new Promise<string>((resolve) => {
    const options = { timeout: 45_000, maxBuffer: 1e8 };
    execFile("npm", ["audit", "--json", "--omit=dev", "--fetch-retries=0"], options, (_, stdout) =>
      resolve(stdout),
    );
  });
  const { vulnerabilities, message, error }: Audit = JSON.parse(printed || "{}");
  if (!vulnerabilities) {
    // The rest of npm's sentence is the registry's address.
    const why = (message ?? error?.summary ?? "it says nothing").split(" - ")[0];
    return skip(`the registry does not answer npm audit: ${why}`);
  }
  const found = Object.entries(vulnerabilities)
    .filter(([, { severity }]) => severity === "high" || severity === "critical")
    .map(([name, { severity, range }]) => `${name} ${range}: ${severity}`);
  expect(found).toEqual([]);
});
