/**
 * What people see of Pulumi's work, by its engine's events as they come: in a terminal a bar of what is
 * done now, and of the test; elsewhere a line for each thing done.
 */
import { MultiBar } from "cli-progress";
import { durationSeconds, type LoadProfile, rateAt } from "../k6/profile";
import { type EngineEvent, nameOf, type Step } from "./events";

export interface Expected {
  /** The resource that runs the test, and its profile, unless a script has its own. */
  loadTestUrn: string;
  profile?: LoadProfile;
  /** How many resources the stack has; 0: nobody knows. */
  resources: number;
}

/** What is said of a step that is over; of others nothing. */
const finished: Record<string, string> = {
  create: "created",
  update: "updated",
  "create-replacement": "replaced",
  delete: "deleted",
};

/** As Pulumi sums up its steps, in its order. */
const sums: [op: string, sign: string, what: string][] = [
  ["create", "+", "created"],
  ["update", "~", "updated"],
  ["replace", "+-", "replaced"],
  ["delete", "-", "deleted"],
  ["same", "", "unchanged"],
];

/** A step of a provider; the rest are groups of them, and their providers. */
const isOwn = ({ urn }: Step) =>
  !/::(pulumi:providers:[^:]+|pulumi:pulumi:Stack|coupon-load-test:\w+:\w+)::/.test(urn);

const plain = (message: string) => message.replace(/<\{%.*?%\}>/g, "").trimEnd();

/** What is done now. */
interface Stage {
  name: string;
  /** Of so much: resources, or seconds of the test. 0: nobody knows. */
  total: number;
  done: () => number;
  says: string;
}

export class Progress {
  private readonly begun = new Map<string, number>();
  private readonly over = new Set<string>();
  private readonly bars?: MultiBar;
  private readonly started = performance.now();
  private stage: Stage;
  /** When the last step before the test was over, in seconds from the start. */
  seconds = 0;

  /**
   * @param steps how many there will be; 0: nobody knows
   * @param usual how many seconds they took the last time; 0: nobody knows
   */
  constructor(
    private readonly expected: Expected,
    private readonly steps: number,
    private readonly usual: number,
  ) {
    this.stage = this.ofResources();
    if (!process.stdout.isTTY) return;
    this.bars = new MultiBar({
      ...{ stream: process.stdout, fps: 5, barsize: 24, hideCursor: true },
      ...{ clearOnComplete: true, forceRedraw: true, gracefulExit: false },
      format: ({ barsize = 0 }) => this.drawn(barsize),
    });
    this.bars.create(1, 0);
  }

  take({ resourcePreEvent, resOutputsEvent, diagnosticEvent, summaryEvent }: EngineEvent) {
    if (resourcePreEvent) this.begins(resourcePreEvent.metadata);
    if (resOutputsEvent) this.ends(resOutputsEvent.metadata);
    if (diagnosticEvent?.severity === "error") this.say(plain(diagnosticEvent.message));
    else if (diagnosticEvent?.urn === this.expected.loadTestUrn) {
      this.tells(plain(diagnosticEvent.message));
    }
    for (const [op, sign, what] of sums) {
      const count = summaryEvent?.resourceChanges[op];
      if (count) this.say(`${sign.padStart(5)} ${count} ${what}`);
    }
  }

  /** Nothing more comes. */
  end() {
    this.bars?.stop();
  }

  private begins(step: Step) {
    this.begun.set(step.urn, performance.now());
    if (this.isTest(step))
      this.stage = { name: "load test", total: 0, done: () => 0, says: "starts" };
    else if (isOwn(step)) this.stage.says = nameOf(step.urn);
  }

  private ends(step: Step) {
    this.over.add(`${step.op === "refresh"} ${step.urn}`);
    if (!isOwn(step)) return;
    if (this.isTest(step)) {
      this.stage = this.ofResources();
      return;
    }
    const now = performance.now();
    this.seconds = (now - this.started) / 1000;
    const took = (now - (this.begun.get(step.urn) ?? now)) / 1000;
    const what = finished[step.op];
    if (what) this.say(`  ${what.padEnd(8)}  ${nameOf(step.urn).padEnd(32)}  ${took.toFixed(1)} s`);
  }

  private isTest({ urn, op }: Step) {
    return urn === this.expected.loadTestUrn && (op === "create" || op === "create-replacement");
  }

  /** What the runner says of the test. */
  private tells(text: string) {
    const { profile } = this.expected;
    const [, seconds, figures] = /^(\d+) s: (.*)$/.exec(text) ?? [];
    if (!seconds || !this.bars) return this.say(`  ${text}`);
    const began = performance.now() - Number(seconds) * 1000;
    const rate = profile && rateAt(profile, Number(seconds));
    const offered = rate === undefined ? "" : `${Number(rate.toFixed(1))}/s offered, `;
    this.stage = {
      name: "load test",
      total: durationSeconds(profile?.duration ?? "") ?? 0,
      done: () => (performance.now() - began) / 1000,
      says: offered + figures,
    };
  }

  private ofResources(): Stage {
    return { name: "stack", total: this.steps, done: () => this.over.size, says: "Pulumi starts" };
  }

  /** The line that changes. */
  private drawn(width: number): string {
    const { name, total, says } = this.stage;
    const done = Math.min(this.stage.done(), total || Infinity);
    const full = total > 0 ? Math.round((done / total) * width) : 0;
    const bar = `[${"=".repeat(full)}${"-".repeat(width - full)}]`;
    const whole = Math.floor(done);
    if (name === "load test") {
      const left = total > 0 ? `${whole} s, ${Math.ceil(total - done)} s left` : `${whole} s`;
      return `${name}  ${bar} ${left}  ${says}`;
    }
    const took = Math.floor((performance.now() - this.started) / 1000);
    const time = this.usual > 0 ? `${took} s, usually ${Math.ceil(this.usual)} s` : `${took} s`;
    return `${name}  ${bar} ${time}  ${says}`;
  }

  /** Prints a line above the one that changes. */
  private say(text: string) {
    if (this.bars) this.bars.log(`${text}\n`);
    else console.log(text);
  }
}
