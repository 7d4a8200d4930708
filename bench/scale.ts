/**
 * `make scale`: what one InfluxDB takes, what k6 gives alone and with others, and what follows from it
 * for a million requests a second. Prints the tables and writes them into docs/scale.md; `QUICK=1`
 * only shows that it works.
 *
 * Usage: scale.ts [QUICK=1]
 */
import * as fs from "node:fs";
import { defaultProfile } from "../k6/profile";
import { columns, filled, markdownTable } from "../runner/report";
import { type Capacity, measureCapacity, outputs, type OutputName, perRequest } from "./capacity";
import { type Bench, measureBy, number, thisMachine, versionOf, writeDocument } from "./machine";
import { highestRate, type Setting, simulate } from "./model";

/** A table of docs/scale.md, under the name of its place there. */
type Tables = Record<"costs" | "store" | "highest" | "runners" | "million" | "ways", string[][]>;

const micro = (seconds: number) => number(seconds * 1e6, seconds < 1e-5 ? 2 : 0);

const outputNames: Record<OutputName, string> = {
  none: "nowhere",
  influxdb: "InfluxDB, points",
  prometheus: "Prometheus remote write, native histograms",
  opentelemetry: "OpenTelemetry, exponential histograms",
};

// Measured and predicted --------------------------------------------------------------------------

/** The measured machine in the simulation: its cores are shared by all parts. */
function here(capacity: Capacity, runners: number, output: boolean): Omit<Setting, "offered"> {
  const { costs, cores, seconds, virtualUsers, pointsPerRequest } = capacity;
  return {
    ...{ costs, runners, seconds, virtualUsers },
    cores: { shared: cores },
    pointsPerRequest: output ? pointsPerRequest : 0,
  };
}

/** InfluxDB alone: whoever writes to it costs nothing. */
function storeAlone(capacity: Capacity): Omit<Setting, "offered"> {
  const { store } = capacity.costs;
  const runner = { second: 0, request: 1e-9, point: 0 };
  return {
    ...here(capacity, 1, true),
    costs: { runner, target: { request: 0 }, store },
    cores: { runner: 1, store: capacity.cores },
    virtualUsers: Infinity,
  };
}

const predictHighest = (setting: Omit<Setting, "offered">) =>
  highestRate((offered) => simulate({ ...setting, offered }).kept, 1000, 50);

/** How far a prediction is off, in percent of what was measured. */
const error = (predicted: number, measured: number) => {
  const percent = Math.round((predicted / measured - 1) * 100);
  return measured > 0 ? `${percent > 0 ? "+" : ""}${percent} %` : "";
};

// A million ---------------------------------------------------------------------------------------

/**
 * What is aimed at, on which machines, and how much of a machine k6 is to use, by its own advice. A
 * runner is as large as the machine that was measured: each of its writes is made by one core.
 */
const goal = 1_000_000;
const nodeCores = 16;
const runnerCores = 2;
const usable = 0.8;
/** As many as the project's profile allows by default. */
const usersOfRunner = defaultProfile.maxVUs;
/** More field writes a second than InfluxData deems possible for one node of InfluxDB 1. */
const vendorLimit = 750_000;

/** A million requests a second, by the costs of a request with each output. */
function aMillion(capacity: Capacity) {
  const { outputs: uses, pointsPerRequest, series, store } = capacity;
  const of = (name: OutputName) => {
    const cores = goal * perRequest(uses[name]);
    const nodes = Math.ceil(cores / usable / nodeCores);
    return { cores, nodes, runners: (nodes * nodeCores) / runnerCores };
  };
  const points = goal * pointsPerRequest;
  const kept = store.filter((each) => each.kept);
  const oneStore = Math.max(0, ...kept.map(({ offered }) => offered));
  const histograms = (name: "prometheus" | "opentelemetry") => ({
    ...of(name),
    samples: series * of(name).runners,
    bytes: uses[name].bytes[1] * of(name).runners,
  });
  const raw = {
    ...of("influxdb"),
    samples: points,
    bytes: points * store[0].pointBytes,
  };
  const setting = (aggregation: number): Setting => ({
    ...here(capacity, raw.runners, true),
    cores: { runner: runnerCores, store: nodeCores },
    virtualUsers: usersOfRunner * raw.runners,
    offered: goal,
    aggregation,
  });
  return {
    none: of("none"),
    raw,
    points,
    oneStore,
    prometheus: histograms("prometheus"),
    opentelemetry: histograms("opentelemetry"),
    simulated: {
      raw: simulate(setting(1)),
      aggregated: simulate(setting(points / (series * raw.runners))),
    },
  };
}

const gigabits = (bytes: number) => {
  const value = (bytes * 8) / 1e9;
  return number(value, value < 0.1 ? 4 : 1);
};

/** All tables, out of what was measured alone. */
export async function tables(capacity: Capacity): Promise<Tables> {
  const { outputs: uses, pointsPerRequest, requestBytes, series, store, runners } = capacity;
  const [low, high] = uses.none.rates.map((rate) => `${number(rate)}/s`);
  const verdict = (kept: boolean) => (kept ? "kept" : "not kept");

  const counts = [...new Set(runners.map((each) => each.runners))];
  const arms = [false, true].flatMap((output) => counts.map((count) => ({ count, output })));
  const highest = [
    {
      what: `InfluxDB alone, points/s`,
      measured: Math.max(0, ...store.filter(({ kept }) => kept).map(({ offered }) => offered)),
      predicted: (await predictHighest(storeAlone(capacity))) * pointsPerRequest,
    },
  ];
  for (const { count, output } of arms) {
    const tried = runners.filter((each) => each.runners === count && each.output === output);
    highest.push({
      what: `${count} k6, ${output ? "to InfluxDB" : "no output"}, requests/s`,
      measured: Math.max(0, ...tried.filter(({ kept }) => kept).map(({ offered }) => offered)),
      predicted: await predictHighest(here(capacity, count, output)),
    });
  }

  const million = aMillion(capacity);
  const { none, raw, points, oneStore, prometheus, opentelemetry, simulated } = million;
  const nodes = (of: typeof none) => [
    `${number(of.cores)} / ${usable} / ${nodeCores}`,
    `${number(of.nodes)} nodes, ${number(of.runners)} runners`,
  ];
  const way = (what: string, { cores, nodes, runners, samples, bytes }: typeof raw) => [
    what,
    ...[cores, nodes, runners, samples].map((value) => number(value)),
    gigabits(bytes),
  ];
  const outcome = ({ kept, achieved, storedInTime, behind }: (typeof simulated)["raw"]) =>
    kept
      ? "kept"
      : `not kept: ${number(achieved)}/s made, ${number(storedInTime * 100)} % of it stored when ` +
        `the load ends, all ${number(behind, 1)} s later`;

  return {
    costs: [
      [
        "k6 sends to",
        `k6, µs a request at ${low}`,
        `at ${high}`,
        "µs of one more",
        `bytes/s sent at ${low}`,
        `at ${high}`,
      ],
      ...outputs.map((name) => {
        const { rates, cores, bytes } = uses[name];
        // What InfluxDB gets is not counted on its way.
        const sent = (at: 0 | 1) =>
          name === "influxdb"
            ? number(rates[at] * pointsPerRequest * store[0].pointBytes)
            : number(bytes[at]);
        return [
          outputNames[name],
          ...rates.map((rate, at) => micro(cores[at] / rate)),
          micro(perRequest(uses[name])),
          ...(name === "none" ? ["", ""] : [sent(0), sent(1)]),
        ];
      }),
    ],
    store: [
      [
        "points/s",
        "requests/s",
        "a write takes, s",
        "the longest, s",
        "behind at the end, s",
        "InfluxDB, cores",
        "other work, cores",
        "",
      ],
      ...store.map((each) => [
        number(each.offered),
        number(each.offered / pointsPerRequest),
        ...[each.write, each.longest, each.behind, each.cores, each.others].map((value) =>
          number(value, 2),
        ),
        verdict(each.kept),
      ]),
    ],
    highest: [
      ["highest rate that is kept", "measured", "predicted", "error"],
      ...highest.map(({ what, measured, predicted }) => [
        what,
        number(measured),
        number(predicted),
        error(predicted, measured),
      ]),
    ],
    runners: [
      [
        "k6",
        "output",
        "offered/s",
        "achieved/s",
        "predicted",
        "cores used",
        "predicted",
        "error",
        "dropped",
        "not stored",
        "behind, s",
        "predicted",
        "other work, cores",
        "",
      ],
      ...runners.map((each) => {
        const { output, offered, achieved } = each;
        const predicted = simulate({ ...here(capacity, each.runners, output), offered });
        return [
          number(each.runners),
          output ? "InfluxDB" : "none",
          ...[offered, achieved, predicted.achieved].map((value) => number(value)),
          ...[each.cores, predicted.cores].map((value) => number(value, 2)),
          error(predicted.cores, each.cores),
          number(each.dropped),
          output ? number(each.lost) : "",
          ...(output ? [each.behind, predicted.behind].map((value) => number(value, 1)) : ["", ""]),
          number(each.others, 2),
          verdict(each.kept),
        ];
      }),
    ],
    million: [
      ["what", "arithmetic", "result"],
      [
        "k6's cores, no output",
        `${number(goal)} × ${micro(perRequest(uses.none))} µs`,
        number(none.cores),
      ],
      [
        "k6's cores, raw points",
        `${number(goal)} × ${micro(perRequest(uses.influxdb))} µs`,
        number(raw.cores),
      ],
      [`nodes of ${nodeCores} cores, ${usable} of them used, no output`, ...nodes(none)],
      ["the same, raw points", ...nodes(raw)],
      [
        "network to the target and back",
        `${number(goal)} × ${number(requestBytes)} bytes`,
        `${gigabits(goal * requestBytes)} Gbit/s, ` +
          `${gigabits((goal * requestBytes) / raw.nodes)} a node`,
      ],
      ["points", `${number(goal)} × ${pointsPerRequest}`, `${number(points)} a second`],
      [
        "network to the store",
        `${number(points)} × ${number(store[0].pointBytes)} bytes`,
        `${gigabits(raw.bytes)} Gbit/s`,
      ],
      [
        "InfluxDBs like the measured one",
        `${number(points)} / ${number(oneStore)}`,
        oneStore ? number(Math.ceil(points / oneStore)) : "",
      ],
      [
        "InfluxDBs at InfluxData's limit of one",
        `${number(points)} / ${number(vendorLimit)}`,
        number(Math.ceil(points / vendorLimit)),
      ],
      [
        `one InfluxDB on ${nodeCores} cores, raw points`,
        `simulated, ${raw.runners} runners, ${capacity.seconds} s`,
        outcome(simulated.raw),
      ],
      [
        "the same, points aggregated by each runner",
        `simulated, ${series} points a second and runner`,
        outcome(simulated.aggregated),
      ],
    ],
    ways: [
      ["way", "k6's cores", "nodes", "runners", "samples/s at the store", "Gbit/s to the store"],
      way("raw points to InfluxDB", raw),
      way("Prometheus remote write, native histograms, each second", prometheus),
      way("OpenTelemetry, exponential histograms, each second", opentelemetry),
    ],
  };
}

async function scale(bench: Bench) {
  const started = Date.now();
  const capacity = await measureCapacity(bench);
  const all = await tables(capacity);
  for (const table of Object.values(all)) console.log(`\n${columns(table)}`);
  if (bench.quick) return;
  const file = "docs/scale.md";
  const minutes = Math.round((Date.now() - started) / 60_000);
  const { costs, cores, seconds, virtualUsers } = capacity;
  const machine = [
    `- ${thisMachine()}; all parts share the cores`,
    `- k6 ${await versionOf(bench.k6, "version")}, ` +
      `InfluxDB ${await versionOf(bench.influxd, "version")}, Node.js ${process.versions.node}`,
    `- ${new Date().toISOString().slice(0, 10)}, ${minutes} minutes; load of ${seconds} s, ` +
      `${virtualUsers} virtual users; the machine's other work took ` +
      `${number(Math.max(...capacity.runners.map(({ others }) => others)), 2)} of ${cores} cores at most`,
    `- processor time: the target ${micro(costs.target.request)} µs a request, ` +
      `InfluxDB ${micro(costs.store.point)} µs a point; k6 ${micro(costs.runner.second)} µs, ` +
      `InfluxDB ${micro(costs.store.second)} µs a second besides`,
  ].join("\n");
  let text = filled(fs.readFileSync(file, "utf8"), "machine", machine);
  for (const [name, table] of Object.entries(all)) text = filled(text, name, markdownTable(table));
  await writeDocument(file, text);
  console.log(`\nwritten: ${file}`);
}

if (require.main === module) void measureBy("scale", process.argv.slice(2), 3, scale);
