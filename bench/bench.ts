/**
 * `make bench`: this project against the guide it comes from, side by side in one run. Prints the
 * tables and writes docs/benchmarks.md; `QUICK=1` only shows that it works, and
 * `PART=long` only prints what comes of one part.
 *
 * Usage: bench.ts [QUICK=1] [PART=rates|cardinality|panels|long|startup]
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { root } from "../root";
import { columns, markdownTable } from "../runner/report";
import { measureCardinality } from "./cardinality";
import {
  type Bench,
  measureBy,
  NotMeasured,
  number,
  thisMachine,
  versionOf,
  writeDocument,
} from "./machine";
import { measureLong } from "./long";
import { measurePanels } from "./panels";
import { sampleK6, type Samples } from "./points";
import { measureRates } from "./rates";
import { measureStartup } from "./startup";

/** A part's figures, or why there are none. */
type Part<Figures> = Figures | { missing: string };

interface Section {
  title: string;
  text: string;
  /** Markdown, the first row its header. */
  table?: string[][];
}

/** Something that was aimed at. `met` is absent where it could not be measured. */
interface Goal {
  goal: string;
  result: string;
  met?: boolean;
  /** The chapter of tried.md that says what limits it. */
  chapter: string;
}

async function measure(bench: Bench) {
  const samples = await sampleK6(bench);
  const part = async <Figures>(
    name: string,
    work: (bench: Bench, samples: Record<"guide" | "ours", Samples>) => Promise<Figures>,
  ): Promise<Part<Figures>> => {
    if (bench.part && bench.part !== name) return { missing: "another part was asked for" };
    try {
      return await work(bench, samples);
    } catch (error) {
      if (bench.signal.aborted || !(error instanceof NotMeasured)) throw error;
      return { missing: error.message };
    }
  };
  return {
    samples,
    rates: await part("rates", measureRates),
    cardinality: await part("cardinality", measureCardinality),
    panels: await part("panels", measurePanels),
    long: await part("long", measureLong),
    startup: await part("startup", measureStartup),
  };
}

type Results = Awaited<ReturnType<typeof measure>>;

function sections({ samples, rates, cardinality, panels, long, startup }: Results): Section[] {
  const section = <Figures extends object>(
    title: string,
    part: Part<Figures>,
    show: (figures: Figures) => Omit<Section, "title">,
  ): Section =>
    "missing" in part
      ? { title, text: `Not measured: ${part.missing}.` }
      : { title, ...show(part as Figures) };
  return [
    section("Requests a second that k6 reaches", rates, ({ offered, table, withinRounds }) => ({
      text:
        `Offered: ${offered}. k6, InfluxDB and the target (which answers every request at once) ` +
        "share the machine's cores. Share is of the guide's script without output. Requests lost: " +
        "made, by k6's own count, but not stored, over all rounds. Coincided: of requests that end " +
        "in the same nanosecond with the same tags InfluxDB keeps one; that few are to be expected. Within a " +
        `round the share was ${withinRounds.oursAlone} for our script without output, which shows ` +
        `the noise, ${withinRounds.guide} for the guide's output and ${withinRounds.ours} for ours.`,
      table,
    })),
    section("Series and disk", cardinality, ({ table }) => ({
      text:
        `A request is ${samples.guide.size} points with the guide's tags and ` +
        `${samples.ours.size} with ours: the lines that k6 writes in a short run, written again with ` +
        "other users and times. Bytes are what the database takes once InfluxDB has compacted it.",
      table,
    })),
    section("Time of a panel's query", panels, ({ requests, table }) => ({
      text:
        `Over ${number(requests)} stored requests of 1,000 distinct users in 1,000 seconds, one ` +
        "warm-up and then each query in turn. At 1 s Grafana fills a panel of some 900 pixels.",
      table,
    })),
    section("Watching a test of hours", long, ({ rate, shares }) => ({
      text:
        `InfluxDB's processor share, in percent of a core, beside what it takes to store ` +
        `${number(rate)} requests a second: of the runner that watches, and of one and two open ` +
        "pages that ask every 5 s, on the run from its start. The guide has no runner that watches. " +
        "The noise of a row is about one per cent.",
      table: shares,
    })),
    section("Judging a test of hours", long, ({ verdicts }) => ({
      text:
        "Of the guide one query, the p95 of all; ours are all figures of the verdict, percentiles " +
        "exact. Memory is InfluxDB's highest, writing included. Stored are two metrics of each request.",
      table: verdicts,
    })),
    section("What InfluxDB needs", long, ({ memory }) => ({
      text:
        "All points of so many requests come in each second, for 20 seconds; memory is InfluxDB's highest. " +
        "`runner/needs.ts` gives its container memory by it.",
      table: memory,
    })),
    section("From a command to the first request", startup, ({ images, table }) => ({
      text:
        `To the first request, unless a row says otherwise. Images, the same for all: ${images}. ` +
        "Cold: images are there, but no container and no volume. docker-compose is the guide's file, " +
        "then its manual steps without the human: the database made in InfluxDB's console, and k6 " +
        "started on this machine; its Grafana is not waited for, and has neither data source nor " +
        "dashboard. The one that waits has both out of files. Warm: the stack runs, and another test " +
        "is started.",
      table,
    })),
    section("Where that time goes", startup, ({ profile }) => ({
      text: "Seconds of each part of a command, medians, by the command's own log in `.state/`.",
      table: profile,
    })),
  ];
}

function goals({ rates, panels, long, startup }: Results): Goal[] {
  const goal = <Figures extends object>(
    text: string,
    chapter: string,
    part: Part<Figures>,
    judge: (figures: Figures) => { result: string; met: boolean },
  ): Goal =>
    "missing" in part
      ? { goal: text, chapter, result: `not measured: ${part.missing}` }
      : { goal: text, chapter, ...judge(part as Figures) };
  return [
    goal("k6 reaches 0.9 of its rate without output", "rate", rates, (figures) => ({
      result:
        `${figures.share.toFixed(2)} of the guide's script without output, ` +
        `${figures.shareOfOwn.toFixed(2)} of ours without; the guide: ` +
        figures.guideShare.toFixed(2),
      met: figures.share >= 0.9,
    })),
    goal("no point lost", "lost", rates, ({ lost, coincided }) => ({
      result:
        `${number(lost.ours)} lost, ${number(coincided.ours)} coincided; ` +
        `the guide: ${number(lost.guide)} lost, ${number(coincided.guide)} coincided`,
      met: lost.ours === 0,
    })),
    goal("panel queries 10 times faster than the guide's", "panels", panels, (figures) => ({
      result:
        `${figures.together.toFixed(1)} times for all together, ` +
        `${figures.least.toFixed(1)} for the one that gains least`,
      met: figures.least >= 10,
    })),
    goal(
      "watching costs under 5 % of a core with a page open, and no more later",
      "long",
      long,
      (figures) => ({
        result: `${figures.first.toFixed(1)} % at first, ${figures.last.toFixed(1)} % at last`,
        met: Math.max(figures.first, figures.last) < 5 && figures.last < figures.first * 1.2 + 1,
      }),
    ),
    goal("the verdict of 50 million requests within a minute", "long", long, (figures) => ({
      result: `${number(figures.seconds, 1)} s for ${number(figures.most)}`,
      met: figures.seconds <= 60,
    })),
    ...startupGoals.map(([text, most, figure]) =>
      goal(text, "startup", startup, (figures) => ({
        result:
          figure === "preview"
            ? `${figures.preview.toFixed(1)} s`
            : `${figures[figure].toFixed(2)} times`,
        met: figures[figure] <= most,
      })),
    ),
  ];
}

const startupGoals: [text: string, most: number, figure: "cold" | "load" | "again" | "preview"][] =
  [
    ["a cold `make up` takes 1.3 times the docker-compose that waits for Grafana", 1.3, "cold"],
    ["`make load` takes twice as long as `docker run` of k6", 2, "load"],
    ["a second `make up` takes 3 times the second `docker-compose up`", 3, "again"],
    ["`make preview` takes 2 s", 2, "preview"],
  ];

const inWords = ({ met }: Goal) => (met === undefined ? "not measured" : met ? "met" : "not met");

async function machine(bench: Bench): Promise<string[]> {
  return [
    thisMachine(),
    `k6 ${await versionOf(bench.k6, "version")}, ` +
      `InfluxDB ${await versionOf(bench.influxd, "version")}, ` +
      `Node.js ${process.versions.node}, Docker ` +
      `${await versionOf("docker", "version", "--format", "{{.Server.Version}}")}, ` +
      `docker-compose ${await versionOf("docker-compose", "version", "--short")}, ` +
      `Pulumi ${await versionOf("pulumi", "version")}`,
  ];
}

async function document(bench: Bench, results: Results, minutes: number): Promise<string> {
  const chapters = triedChapters();
  const aimed = goals(results);
  const missed = new Set(aimed.flatMap(({ met, chapter }) => (met === false ? chapter : [])));
  return [
    "# Benchmarks",
    "`make bench` wrote this file: this project against the guide that it comes from, side by side " +
      "in one run. The guide's script, compose file and queries are in `bench/`, unchanged but for " +
      "load, addresses and what kept them from starting. Figures are medians of " +
      `${bench.rounds} rounds, which take turns, with the least and the most.`,
    [
      ...(await machine(bench)),
      `${new Date().toISOString().slice(0, 10)}, ${Math.round(minutes)} minutes`,
    ]
      .map((line) => `- ${line}`)
      .join("\n"),
    "## Goals",
    markdownTable([
      ["goal", "result", ""],
      ...aimed.map((goal) => [goal.goal, goal.result, inWords(goal)]),
    ]),
    ...[...missed].flatMap((chapter) => chapters.get(chapter) ?? []),
    ...sections(results).flatMap(({ title, text, table }) => [
      `## ${title}`,
      text,
      ...(table ? [markdownTable(table)] : []),
    ]),
  ].join("\n\n");
}

/** tried.md: what limits a goal and what was tried, a chapter each under the goal's short name. */
function triedChapters(): Map<string, string> {
  const text = fs.readFileSync(path.join(root, "bench/tried.md"), "utf8");
  return new Map(
    text
      .split(/^## /m)
      .slice(1)
      .map((chapter) => {
        const [name, ...lines] = chapter.split("\n");
        return [name.trim(), lines.join("\n").trim()];
      }),
  );
}

async function bench(bench: Bench) {
  const started = Date.now();
  const results = await measure(bench);
  for (const { title, text, table } of sections(results)) {
    console.log(`\n${title}\n\n${table ? columns(table) : text}`);
  }
  console.log("");
  console.log(columns(goals(results).map((goal) => [goal.goal, goal.result, inWords(goal)])));
  if (bench.quick || bench.part) return;
  const text = await document(bench, results, (Date.now() - started) / 60_000);
  await writeDocument("docs/benchmarks.md", `${text}\n`);
  console.log("\nwritten: docs/benchmarks.md");
}

void measureBy("bench", process.argv.slice(2), 3, bench, [
  ...["rates", "cardinality", "panels", "long", "startup"],
]);
