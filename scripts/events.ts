/** The events of Pulumi's engine, as far as they are of interest. */
import * as fs from "node:fs";

/** What a step does to a resource: its inputs and outputs before and after. */
export interface Step {
  /** `create`, `update`, `replace`, `delete`, `same`, ... */
  op: string;
  urn: string;
  /** Changed properties by path, as the provider tells them; many tell nothing. */
  detailedDiff?: Record<string, unknown> | null;
  old?: State | null;
  new?: State | null;
}

interface State {
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

export interface EngineEvent {
  /** Before a step; a preview has no other. */
  resourcePreEvent?: { metadata: Step };
  /** After a step. */
  resOutputsEvent?: { metadata: Step };
  diagnosticEvent?: { severity: string; message: string; urn?: string };
  /** At the end: how many resources each operation changed. */
  summaryEvent?: { resourceChanges: Record<string, number> };
}

/** Reads events, one a line; a Pulumi that was killed leaves a torn one. Secrets are `[secret]` in them. */
export const eventsOf = (lines: string): EngineEvent[] =>
  lines.split("\n").flatMap((line) => {
    try {
      return line.startsWith("{") ? [JSON.parse(line)] : [];
    } catch {
      return [];
    }
  });

/** Gives the events that have come into a file since it was asked before; the file may not be there yet. */
export function newEvents(file: string): () => EngineEvent[] {
  let read = 0;
  return () => {
    if (!fs.existsSync(file)) return [];
    const handle = fs.openSync(file, "r");
    try {
      const bytes = Buffer.alloc(fs.fstatSync(handle).size - read);
      fs.readSync(handle, bytes, 0, bytes.length, read);
      // The last line may still be written.
      const whole = bytes.subarray(0, bytes.lastIndexOf("\n") + 1);
      read += whole.length;
      return eventsOf(whole.toString());
    } finally {
      fs.closeSync(handle);
    }
  };
}

/** What Pulumi's engine complained of, in its order, each in one line. */
export function errorsIn(events: EngineEvent[]): string[] {
  return events.flatMap(({ diagnosticEvent }) => {
    if (diagnosticEvent?.severity !== "error") return [];
    const plain = diagnosticEvent.message.replace(/<\{%.*?%\}>/g, "").trim();
    // Of all that Kubernetes' provider lists, what it says of a pod is why.
    const [, pod] = /^\s*\* (\[Pod .*)$/m.exec(plain) ?? [];
    if (pod) return pod;
    // The first line that does not announce the next; a stack trace may follow.
    const [beginning] = /^(.*:\s*\n)*.*/.exec(plain)!;
    // What the bridge to Terraform's providers writes before and after a provider's own words.
    const own = beginning.replace(/^sdk-v2\/\S+ sdk\.\S+ |: provider=\S+$/g, "");
    return own.replace(/\s+/g, " ");
  });
}

/** The name that the program gave a resource. */
export const nameOf = (urn: string) => urn.split("::").at(-1)!;
