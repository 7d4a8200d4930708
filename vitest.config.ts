import { defineConfig } from "vitest/config";

const minute = 60_000;

/** One file after another, and after the tiers before: a load test wants the machine. */
const oneByOne = (groupOrder: number) => ({
  poolOptions: { forks: { singleFork: true } },
  sequence: { groupOrder },
});

/** The tiers: nothing real, real programs on this machine, the real stack. */
export default defineConfig({
  test: {
    reporters: ["./test/support/reporter.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          // The same cases in each run.
          setupFiles: ["./test/support/anything.ts"],
        },
      },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          globalSetup: ["./test/support/prepare-parts.ts"],
          testTimeout: minute,
          hookTimeout: minute,
          ...oneByOne(1),
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          testTimeout: 10 * minute,
          hookTimeout: 20 * minute,
          ...oneByOne(2),
        },
      },
    ],
  },
});
