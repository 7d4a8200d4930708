/** What was changed by hand: Pulumi's view of the stack against what is really there. */
import { execFileSync } from "node:child_process";
import { waitForAnswer } from "../runner/gate";
import { publishedPort } from "../runner/ports";

/** A resource of an exported state, as far as it is of interest. */
export interface Resource {
  urn: string;
  type: string;
  protect?: boolean;
  /** It has been replaced, and is still to go. */
  delete?: boolean;
  /** Secrets are objects with their JSON as `plaintext`; so in `outputs`. */
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
  /** The URNs of what each input was made of. */
  propertyDependencies?: Record<string, string[] | null>;
}

/** An event of Pulumi's engine, as far as it is of interest. */
interface EngineEvent {
  resOutputsEvent?: {
    metadata: {
      op: string;
      urn: string;
      detailedDiff?: Record<string, unknown> | null;
      old?: { outputs?: Record<string, unknown> } | null;
      new?: { outputs?: Record<string, unknown> } | null;
    };
  };
  diagnosticEvent?: { severity: string; message: string };
}

export interface Drift {
  /** Resource and what became of it, such as `dashboards-influxdb`, `changed: url`. */
  rows: [name: string, what: string][];
  /** What could not be looked at, in Pulumi's words. */
  unseen: string[];
}

/**
 * Has Pulumi's engine print its events, one a line, with `--json`. The document that it prints
 * without this leaves out what changed in resources whose provider gives no details.
 */
export const asEvents = { PULUMI_ENABLE_STREAMING_JSON_PREVIEW: "true" };

/** Reads the events of a `pulumi refresh --preview-only --json`. */
export function driftOf(events: string): Drift {
  const rows: Drift["rows"] = [];
  const unseen = new Set<string>();
  for (const line of events.split("\n")) {
    if (!line.startsWith("{")) continue;
    const { resOutputsEvent, diagnosticEvent }: EngineEvent = JSON.parse(line);
    if (diagnosticEvent?.severity === "error") {
      const message = diagnosticEvent.message.replace(/<\{%.*?%\}>/g, "").trim();
      if (!/preview failed$/.test(message)) unseen.add(message.replace(/^Preview failed: /, ""));
    }
    const { op, urn, detailedDiff, old, ...rest } = resOutputsEvent?.metadata ?? {
      op: "",
      urn: "",
    };
    if (!["update", "delete"].includes(op) || urn.includes("::pulumi:pulumi:")) continue;
    const [before, after] = [old?.outputs ?? {}, rest.new?.outputs ?? {}];
    const differs = (key: string) => JSON.stringify(before[key]) !== JSON.stringify(after[key]);
    const keys = detailedDiff ? Object.keys(detailedDiff) : Object.keys(after).filter(differs);
    // How Docker's provider says that a container is there, but does not run.
    const stopped = urn.includes("docker:index/container:") && keys.includes("mustRun");
    const what = stopped ? "stopped" : `changed: ${keys.join(", ") || "its properties"}`;
    rows.push([urn.split("::").at(-1)!, op === "delete" ? "gone" : what]);
  }
  return { rows, unseen: [...unseen] };
}

/** A container of the stack, as Docker has it. */
interface Container {
  urn: string;
  name: string;
  /** Absent when Docker has no such container. */
  running?: boolean;
}

/** The containers that the stack's state knows, and whether they run. */
export function containersOf(resources: Resource[]): Container[] {
  return resources
    .filter(({ type }) => type === "docker:index/container:Container")
    .map(({ urn, outputs }) => {
      const name = String(outputs?.name);
      return { urn, name, running: isRunning(name) };
    });
}

/** Starts containers, and waits until those with a port answer. */
export async function start(names: string[]): Promise<void> {
  for (const name of names) {
    execFileSync("docker", ["start", name], { stdio: ["ignore", "ignore", "inherit"] });
    const port = publishedPort(name);
    if (port) await waitForAnswer(`http://127.0.0.1:${port}/`, 60);
  }
}

function isRunning(name: string): boolean | undefined {
  try {
    const inspect = ["container", "inspect", "--format", "{{.State.Running}}", name];
    const stdio: ["ignore", "pipe", "ignore"] = ["ignore", "pipe", "ignore"];
    return execFileSync("docker", inspect, { encoding: "utf8", stdio }).trim() === "true";
  } catch {
    return undefined;
  }
}
