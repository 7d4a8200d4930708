/** index.ts as a whole, without an engine. */
import * as pulumi from "@pulumi/pulumi";
import * as fs from "node:fs";
import { parse } from "yaml";
import { compileAsPulumi, recordPulumi, type States } from "./pulumi-mocks";

export type Outputs = Record<string, pulumi.Input<unknown>>;

const manifest: Record<string, { default: unknown }> = parse(
  fs.readFileSync("Pulumi.yaml", "utf8"),
).config;

/**
 * Runs the program as Pulumi does, with the defaults and these values, and records what it registers.
 *
 * @param states of types that have outputs of their own
 */
export async function runProgram(
  values: Record<string, unknown>,
  { states = {}, stack = "dev" }: { states?: States; stack?: string } = {},
) {
  const all: Record<string, string> = { "other-project:rate": "0" };
  for (const [key, { default: value }] of Object.entries(manifest)) {
    all[`coupon-load-test:${key}`] = String(value);
  }
  for (const [key, value] of Object.entries(values)) all[`coupon-load-test:${key}`] = String(value);
  const recording = recordPulumi(states, stack);
  pulumi.runtime.setAllConfig(all);
  compileAsPulumi();
  const { default: program } = await import("../../index.js");
  let outputs: Outputs = {};
  let error: unknown;
  try {
    outputs = await program();
  } catch (thrown) {
    error = thrown;
  }
  await recording.done();
  return { recording, outputs, error };
}
