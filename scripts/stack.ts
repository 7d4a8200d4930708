/**
 * `make up`, `preview`, `load`, `capacity`, `drift`, `rotate`, `backup`, `restore`, `destroy`, `compare`,
 * `password` and `mirror-list`: prepares what Pulumi needs, runs it, and tells how it ended. `pulumi`
 * typed directly does the same work with a login and stack of its user's own.
 *
 * Usage: stack.ts <command> <stack> [key=value ...]
 */
import * as fs from "node:fs";
import * as path from "node:path";
import {
  containerName,
  externalTarget,
  namespaceName,
  parseConfig,
  project,
  type StackConfig,
} from "../config";
import { drawn, ownScript } from "../k6/profile";
import { removeLeftContainers } from "../runner/docker";
import { waitForAnswer } from "../runner/gate";
import { routesOf, runOf } from "../runner/ledger";
import {
  capacityLine,
  columns,
  comparison,
  markdownTable,
  routeComparison,
  table,
} from "../runner/report";
import { latestRun, runLoadTest, runsFolder } from "../runner/run";
import { scriptHash } from "../runner/script";
import { manifestsAhead } from "../runner/test-run";
import {
  type Credentials,
  RunFailure,
  type RunRequest,
  stackOf,
  type Summary,
} from "../runner/types";
import { readJson } from "../runner/verify";
import { ConfigError } from "../values";
import { backup, restore, type RunningStack } from "./backup";
import {
  administrators,
  containersOf,
  driftOf,
  networksOf,
  removeContainers,
  type Resource,
  serversInCluster,
  start,
} from "./drift";
import { nameOf } from "./events";
import { mirrorList } from "./mirror-list";
import { installClusterPackages, prerequisites, pulumiCommand } from "./prerequisites";
import { loadTestLine, previewMarkdown, previewOf } from "./preview";
import { Failure, Pulumi } from "./pulumi";
import { rotationOf } from "./rotation";
import { keyAndValue, readSettings, requireStackName } from "./settings";

const [command, stack, ...settings] = process.argv.slice(2);

const loadTestUrn =
  `urn:pulumi:${stack}::${project}::` +
  `coupon-load-test:index:LoadTest$command:local:Command::load-test-run`;

const pulumi = new Pulumi(stack, { loadTestUrn, resources: 0 });

const commands: Record<string, () => Promise<void>> = {
  async up() {
    const { all } = await prepare();
    const before = latestRun(stack);
    await finishRotation((await putServersBack(all)) ?? all);
    // It looks at all that is there first, so that what was changed by hand is put back. Docker's provider
    // takes two seconds to look at a network, of which nothing but the whole can be changed.
    const there = networksOf(all).filter(({ isThere }) => isThere);
    const known = there.flatMap(({ urn }) => ["--exclude", urn]);
    const settled = ["--yes", "--skip-preview", "--refresh", ...known, ...changes()];
    const exitCode = await pulumi.run("up", ...settled, ...testAgain(before, all));
    conclude(exitCode, before?.id);
  },
  async preview() {
    const file = "preview.md";
    fs.rmSync(file, { force: true });
    const { config, all } = await prepare();
    const args = ["preview", "--diff", ...changes(), ...testAgain(latestRun(stack), all)];
    const { exitCode, shown, events } = await pulumi.observe(...args);
    if (exitCode !== 0) throw endedBadly(exitCode);
    const preview = previewOf(events, loadTestUrn);
    const manifests = preview.loadTest && manifestsOf(config);
    const shape = preview.loadTest && shapeOf(config);
    fs.writeFileSync(file, previewMarkdown(stack, preview, shown, { manifests, shape }));
    if (manifests) console.log(`\nthe load test makes in the cluster:\n\n${manifests}`);
    if (shape) console.log(`\n${shape}`);
    console.log(`\n${loadTestLine(preview)}\nas Markdown  ${file}`);
  },
  async load() {
    requireUp((await prepare()).all);
    const before = latestRun(stack);
    const again = ["--target-replace", loadTestUrn];
    const exitCode = await pulumi.run("up", "--yes", "--skip-preview", ...changes(), ...again);
    conclude(exitCode, before?.id);
  },
  async capacity() {
    const { config, all } = await prepare("capacity");
    const { output, password } = lookUp(requireUp(all));
    // As the stack's test has them, but for what can be set for this command alone.
    const { LOAD_TEST } = output("load-test-run", "environment") as Record<string, string>;
    const { target, ...recorded } = JSON.parse(LOAD_TEST) as RunRequest;
    const { plaintext } = output("load-test-run", "stdin") as { plaintext: string };
    const { secrets } = JSON.parse(JSON.parse(plaintext)) as Credentials;
    const { script, scriptEnv, profile, thresholds, routeLimits } = config;
    const { baseline, maxRegression, starvedGenerator, maxSeries, allowedHosts } = config;
    const request: RunRequest = {
      ...{ ...recorded, script, scriptHash: scriptHash(script), scriptEnv, profile, thresholds },
      ...{ routeLimits, baseline, maxRegression, starvedGenerator, maxSeries, allowedHosts },
      target: config.target.kind === "external" ? externalTarget(config.target) : target,
    };
    const credentials: Credentials = {
      writer: { username: "k6", password: password("influxdb-k6-password") },
      reader: { username: "grafana", password: password("influxdb-grafana-password") },
      secrets,
    };
    const stop = new AbortController();
    process.on("SIGINT", () => stop.abort());
    const { id } = await runLoadTest(request, credentials, console.log, stop.signal);
    const summary: Summary = readJson(path.join(runsFolder, id, "summary.json"));
    console.log(`\n${table(summary)}\n`);
    if (summary.dashboardUrl) console.log(`dashboard  ${summary.dashboardUrl}`);
    console.log(`report     ${runsFolder}/${id}/report.html\n\n${capacityLine(summary)}`);
  },
  async drift() {
    requireUp((await prepare()).all);
    const looked = await pulumi.look("refresh", "--preview-only", ...changes());
    const { rows, unseen } = driftOf(looked.events);
    if (rows.length > 0) console.log(`${columns([["resource", "by hand"], ...rows])}\n`);
    for (const each of unseen) console.log(`not looked at: ${each}\n`);
    if (rows.length + unseen.length > 0) {
      const names = rows.map(([name, what]) => `${name} (${what})`).join(", ");
      throw new Failure(
        `changed by hand: ${names || "what cannot be looked at"}; make up puts it back`,
      );
    }
    if (!looked.ok) throw new Failure(`Pulumi cannot look: ${looked.complaint.trim()}`);
    console.log("nothing was changed by hand");
  },
  async rotate() {
    const { all } = await prepare();
    if (!isUp(all)) throw notUp();
    // Nobody knows a password that was made and never came to be used, if it is made anew here.
    await finishRotation((await putServersBack(all)) ?? all);
    // The test is no part of it: no load is made by surprise. It gets new passwords when it runs.
    const { passwords, holders } = rotationOf((await pulumi.resources()) ?? [], loadTestUrn);
    const anew = passwords.flatMap((urn) => ["--target-replace", urn]);
    if ((await pulumi.run("up", ...only(holders), ...anew)) !== 0) throw halfRotated();
    console.log(`all passwords are new; Grafana's login: make password${ofThisStack}`);
  },
  async backup() {
    nothingElse(settings, "make backup takes no settings but STACK");
    const { archive, manifest } = await backup(await running());
    const files = Object.values(manifest.files);
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    console.log(`${files.length} files, ${Math.ceil(bytes / 1000)} kB, each with its checksum\n`);
    console.log(`backup     ${archive}\nrestore    make restore FROM=${archive}${ofThisStack}`);
  },
  async restore() {
    const archive = /^FROM=(.+)$/.exec(settings[0] ?? "")?.[1];
    const usage = "say which archive: make restore FROM=<archive>, and nothing else";
    if (!archive) throw new Failure(usage);
    nothingElse(settings.slice(1), usage);
    if (!fs.existsSync(archive)) throw new Failure(`there is no archive ${archive}`);
    const interrupted = new AbortController();
    process.on("SIGINT", () => interrupted.abort());
    await restore(await running(), archive, console.log, interrupted.signal);
    console.log(`stack ${stack} has what was in ${archive}, beside what it had`);
  },
  async destroy() {
    pulumi.selectBackend();
    const all = await pulumi.resources();
    if (all) {
      pulumi.copySettings();
      const kept = all.filter(({ protect }) => protect);
      if (kept.length > 0) {
        // The order of a state is that in which its resources came to be ready.
        const names = kept.map(({ urn }) => nameOf(urn)).sort();
        throw new Failure(
          `stack ${stack} keeps its data (${names.join(", ")}); ` +
            `to remove it, too, first run make up STACK=${stack} keepData=false`,
        );
      }
      const destroy = ["destroy", "--yes", "--skip-preview", "--config-file", pulumi.stackFile];
      const exitCode = await pulumi.run(...destroy);
      // The k6 of a killed run holds the network, where there is one.
      const inDocker = all.some(({ type }) => type.startsWith("docker:"));
      const again = inDocker && (await removeLeftContainers(stack)) && exitCode !== 0;
      if ((again ? await pulumi.run(...destroy) : exitCode) !== 0) {
        throw new Failure("not everything is gone; the first error above says why, try again");
      }
      await pulumi.remove();
      console.log(`stack ${stack} is gone; what its runs left is in ${runsFolder}/`);
    } else {
      console.log(`there is no stack ${stack}, nothing to destroy`);
    }
    pulumi.tidy();
  },
  async password() {
    const { password } = await exported();
    const login = { username: "admin", password: password("grafana-admin-password") };
    console.log(JSON.stringify(login, null, 2));
  },
  async "mirror-list"() {
    const config = parseConfig(readSettings(stack, settings), process.cwd());
    if (config.executor.kind === "kubernetes") installClusterPackages();
    console.log(mirrorList(config, process).join("\n"));
  },
  async compare() {
    const given = settings.map(keyAndValue);
    const [a, b] = ["A", "B"].map((side) => given.find(([name]) => name === side)?.[1]);
    const others = given.map(([name]) => name).filter((name) => name !== "A" && name !== "B");
    if (!a || !b || others.length > 0) {
      throw new Failure("say which runs: make compare A=<id> B=<id>, and nothing else");
    }
    for (const [side, id] of given) {
      if (stackOf(id)) continue;
      const allowed = "must be a run's id, such as dev-20261124T093000Z";
      throw new Failure(`${side} is ${JSON.stringify(id)}: ${allowed}`);
    }
    const { password, output } = await exported();
    const source = {
      influxdb: { url: String(output("influxdb-database", "url")), database: "k6" },
      reader: { username: "grafana", password: password("influxdb-grafana-password") },
    };
    const found = await Promise.all([runOf(source, a), runOf(source, b)]).catch(({ message }) => {
      throw new Failure(message);
    });
    const routes = routeComparison(
      ...(await Promise.all([routesOf(source, a), routesOf(source, b)])),
    );
    const tables = [comparison(...found), routes].filter((rows) => rows.length > 0);
    const file = path.join(runsFolder, `compare-${a}-${b}.md`);
    fs.mkdirSync(runsFolder, { recursive: true });
    const text = ["### Load tests compared", ...tables.map(markdownTable)].join("\n\n");
    fs.writeFileSync(file, `${text}\n`);
    console.log(`${tables.map(columns).join("\n\n")}\n\nas Markdown  ${file}`);
  },
};

/**
 * Has all servers run that were stopped or removed by hand: what is in them is looked at next.
 *
 * @returns the resources as they are then, if that has changed them
 */
async function putServersBack(all: Resource[]): Promise<Resource[] | undefined> {
  const away = containersOf(all).filter(({ running }) => !running);
  const lost = networksOf(all).filter(({ isThere }) => !isThere);
  // Without its network a container never starts again.
  if (lost.length > 0) removeContainers(away);
  const gone = away.filter(({ running }) => running === undefined || lost.length > 0);
  const urns = [...lost, ...gone].map(({ urn }) => urn);
  // Their volumes may be gone, too: who may look into the servers is made again with them.
  await makeAgain(urns.length > 0 ? [...urns, ...administrators(all)] : []);
  const names = away.map(({ name }) => name);
  if (names.length > 0) console.log(`put back: ${names.join(", ")}\n`);
  await start(names);

  const inCluster = serversInCluster(all);
  const answers = await Promise.allSettled(inCluster.urls.map((url) => waitForAnswer(url, 5)));
  const silent = answers.some(({ status }) => status === "rejected");
  if (silent) {
    await makeAgain(inCluster.urns);
    console.log("put back: the servers in the cluster\n");
  }
  return urns.length > 0 || silent ? pulumi.resources() : undefined;
}

/** Has Pulumi look at these resources alone, and put them back. */
async function makeAgain(urns: string[]) {
  if (urns.length === 0) return;
  const these = urns.flatMap((urn) => ["--target", urn]);
  const settled = ["--yes", "--skip-preview", ...changes(), ...these];
  await pulumi.run("refresh", ...settled);
  await pulumi.run("up", ...settled);
}

/** What is in the stack's state: the outputs of a stack itself come only with its first passed run. */
async function exported() {
  pulumi.selectBackend();
  return lookUp((await pulumi.resources()) ?? []);
}

function lookUp(all: Resource[]) {
  const output = (name: string, property: string) => {
    const found = all.find(({ urn }) => urn.endsWith(`::${name}`))?.outputs?.[property];
    if (found === undefined) throw notUp();
    return found;
  };
  const password = (name: string): string =>
    JSON.parse((output(name, "result") as { plaintext: string }).plaintext);
  return { output, password };
}

/** What is needed to work on what is in the servers of a stack that is up. */
async function running(): Promise<RunningStack> {
  pulumi.selectBackend();
  const all = requireUp((await pulumi.resources()) ?? []);
  if (serversInCluster(all).urns.length > 0) {
    throw new Failure(
      `the servers of stack ${stack} are in a cluster, whose volumes it does not copy: take ` +
        `snapshots of its claims there, see docs/kubernetes.md`,
    );
  }
  const away = containersOf(all).find(({ running }) => !running);
  if (away) throw new Failure(`container ${away.name} does not run; make up starts it`);
  const { output, password } = lookUp(all);
  const isManaged = ({ type }: Resource) => /^grafana:oss\/(dashboard|folder):/.test(type);
  return {
    stack,
    influxdb: {
      url: String(output("influxdb-database", "url")),
      adminUsername: "admin",
      adminPassword: password("influxdb-admin-password"),
      container: containerName(stack, "influxdb"),
      database: String(output("influxdb-database", "database")),
    },
    grafana: {
      url: String(output("grafana-admin", "url")),
      username: "admin",
      password: password("grafana-admin-password"),
    },
    managed: new Set(all.filter(isManaged).map(({ outputs }) => String(outputs?.uid))),
  };
}

function nothingElse(given: string[], usage: string) {
  if (given.length > 0) throw new Failure(usage);
}

/**
 * Checks the settings and the machine, then has the stack ready to be worked on.
 *
 * @returns the settings, and the resources in the stack's state
 */
async function prepare(use: "load" | "capacity" = "load") {
  const config = parseConfig(readSettings(stack, settings), process.cwd(), use);
  const ask = () => {
    pulumi.selectBackend();
    return pulumi.resources();
  };
  // Meanwhile, but at first nothing is made before the machine is checked; and the npm package, which
  // fetches Pulumi at its first use, is not to do so twice at once.
  const known = pulumi.isKnown() && pulumiCommand === "pulumi" ? ask() : undefined;
  await checkMachine(config);
  const all = await (known ?? ask());
  if (!all) await pulumi.create();
  pulumi.copySettings();
  const { script, profile } = config;
  const shown = script === ownScript ? { profile } : {};
  pulumi.expected = { loadTestUrn, ...shown, resources: all?.length ?? 0 };
  return { config, all: all ?? [] };
}

/** What a run makes in a cluster by itself, so that Pulumi does not show it. */
function manifestsOf({ executor, script, profile }: StackConfig): string | undefined {
  if (executor.kind !== "kubernetes") return undefined;
  const cluster = { ...executor, namespace: namespaceName(stack), serviceAccount: "k6" };
  return manifestsAhead(stack, script, profile, cluster);
}

/** The shape of the load, if it has one, as a small chart. */
const shapeOf = ({ script, profile }: StackConfig) =>
  script === ownScript && profile.stages
    ? `${drawn(profile)}  up to ${profile.rate} per ${profile.timeUnit}, ${profile.duration} in all`
    : undefined;

async function checkMachine(config: StackConfig) {
  const found = await prerequisites(config, stack);
  const rows = found.map(({ name, found, todo }) => [name, found, todo ?? "ok"]);
  console.log(columns([["needed", "found", ""], ...rows]) + "\n");
  const missing = found.find(({ todo }) => todo);
  if (!missing) return;
  const instead = missing.withoutIt ? `; ${missing.withoutIt}` : "";
  throw new Failure(`${missing.name} ${missing.found}: ${missing.todo}${instead}`);
}

/** What a hint adds to a command of make. */
const ofThisStack = stack === "dev" ? "" : ` STACK=${stack}`;

/** The settings of the command line hold for this command alone: they go into the copy. */
const changes = () => [
  ...["--config-file", pulumi.stackFile],
  ...settings.flatMap((setting) => ["--config", setting]),
];

/** A test that failed is run again, though nothing has changed since. */
const testAgain = (newest: Summary | undefined, all: Resource[]) =>
  newest?.verdict === "failed" && isUp(all) ? ["--replace", loadTestUrn] : [];

/** Whether the stack has been brought up before, so that its load test can be named. */
const isUp = (all: Resource[]) => all.some(({ urn }) => urn === loadTestUrn);

const notUp = () => new Failure(`stack ${stack} is not up: run make up first`);

const halfRotated = () =>
  new Failure(`not every part has its new password yet; make up${ofThisStack} finishes that`);

/** Refuses a stack that is not up, or in which not every part has its new password. */
function requireUp(all: Resource[]): Resource[] {
  if (!isUp(all)) throw notUp();
  if (rotationOf(all, loadTestUrn).late.length > 0) throw halfRotated();
  return all;
}

/**
 * Has every part go by the passwords that there are, if a rotation ended half-way. Before anything
 * is looked at: that would be done by the passwords of before.
 */
async function finishRotation(all: Resource[]): Promise<void> {
  const { passwords, holders, late } = rotationOf(all, loadTestUrn);
  if (late.length === 0) return;
  console.log("a change of passwords ended half-way; it is finished first\n");
  if ((await pulumi.run("up", ...only([...passwords, ...holders]))) !== 0) throw halfRotated();
}

/** For `up`, with nothing else touched. */
const only = (urns: string[]) => [
  ...["--yes", "--skip-preview", ...changes()],
  ...urns.flatMap((urn) => ["--target", urn]),
];

const endedBadly = (exitCode: number) =>
  new Failure(
    `Pulumi ended with exit code ${exitCode}` +
      (pulumi.firstError ? `: ${pulumi.firstError}` : `; all that it said is in ${pulumi.log}`),
  );

/** Tells how `up` ended: the verdict, where to look, and the one line that says what went wrong. */
function conclude(exitCode: number, previousRun?: string) {
  const newest = latestRun(stack);
  const ran = newest && newest.id !== previousRun;
  console.log("");
  // A verdict of before would only mislead where Pulumi failed before it came to the test.
  if (newest && (ran || exitCode === 0)) {
    console.log(table(newest) + "\n");
    if (newest.dashboardUrl) console.log(`dashboard  ${newest.dashboardUrl}`);
  }
  if (newest) console.log(`login      make password${ofThisStack}`);
  if (exitCode !== 0) {
    if (ran && newest.reason) throw new Failure(newest.reason);
    if (interrupted) throw new Failure("interrupted; what was made stays, make up goes on from it");
    throw endedBadly(exitCode);
  }
  console.log(
    ran
      ? `report     ${runsFolder}/${newest.id}/report.html`
      : "no test was due: nothing that it depends on has changed",
  );
}

async function main() {
  requireStackName(stack);
  await commands[command]();
}

// ^C goes to Pulumi as well, which then stops in order; wait for it.
let interrupted = false;
process.on("SIGINT", () => (interrupted = true));
main().catch((error) => {
  const known = [Failure, ConfigError, RunFailure].some((kind) => error instanceof kind);
  console.error(known ? `make ${command}: ${error.message}` : error);
  process.exitCode = 1;
});
