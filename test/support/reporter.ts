/**
 * Vitest's own report, then why tests were skipped, which failed and why, and the counts as the very
 * last line: who keeps only the end of a log still sees what to mend.
 */
import type { TestCase } from "vitest/node";
import { DefaultReporter } from "vitest/reporters";

export default class extends DefaultReporter {
  override onFinished(...report: Parameters<DefaultReporter["onFinished"]>) {
    super.onFinished(...report);
    const { config, state } = this.ctx;
    const modules = state.getTestModules();
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const ended = (how: string) => tests.filter((test) => test.result().state === how);
    const skipped = ended("skipped");
    // What fails outside its tests, such as a file that cannot be loaded, leaves no failed test.
    const blocks = modules.flatMap((module) => [module, ...module.children.allSuites()]);
    const broken = blocks.flatMap((block) => block.errors()).length;
    const failed = ended("failed").length + broken + state.getUnhandledErrors().length;

    const byReason = new Map<string, string[]>();
    for (const test of skipped) {
      const why = reason(test) ?? (config.testNamePattern ? "not asked for" : "see its name");
      const name = this.nameOf(test);
      byReason.set(why, [...(byReason.get(why) ?? []), name]);
    }
    for (const [why, names] of byReason) {
      this.log([`skipped: ${why}`, ...names].join("\n    "));
    }
    for (const test of ended("failed")) {
      const why = (test.result().errors ?? []).map(({ message }) => message.slice(0, 1000));
      this.log(`failed: ${this.nameOf(test)}\n    ${why.join("\n").replaceAll("\n", "\n    ")}`);
    }
    for (const error of state.getUnhandledErrors()) {
      this.log(`failed outside of a test: ${(error as Error).message}`);
    }
    this.log(`${ended("passed").length} passed, ${failed} failed, ${skipped.length} skipped`);
  }

  private nameOf(test: TestCase) {
    return `${this.relative(test.module.moduleId)} > ${test.fullName}`;
  }
}

/** What the test gave to `skip`, or which block around it failed before it could run. */
function reason(test: TestCase): string | undefined {
  const result = test.result();
  if (result.state === "skipped" && result.note) return result.note;
  for (let block = test.parent; ; block = block.parent) {
    if (block.errors().length > 0) return "what comes before it failed";
    if (block.type === "module") return undefined;
  }
}
