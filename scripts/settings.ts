/** Every configuration value as `make` gives it: defaults, the stack's file, the command line. */
import * as fs from "node:fs";
import { parse } from "yaml";
import { project, secretKeys } from "../config";
import { isStackName, oneLine } from "../runner/types";
import { ConfigError, type Values } from "../values";

/** Whether a value of a stack's file, or each in it, is one that Pulumi has encrypted. */
function isEncrypted(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const all = Object.values(value);
  return "secure" in value || (all.length > 0 && all.every(isEncrypted));
}

/** The name and the value of an argument of make, `key=value`. */
export function keyAndValue(setting: string): [string, string] {
  const [key, ...value] = setting.split("=");
  return [key, value.join("=")];
}

/** Refuses what cannot be a stack's name, before files are called after it. @throws ConfigError */
export function requireStackName(stack: string) {
  if (isStackName(stack)) return;
  throw new ConfigError(
    `STACK is ${JSON.stringify(stack)}: must be at most 100 letters, digits, ".", "_" and "-", ` +
      `the first a letter or a digit`,
  );
}

/**
 * @param stack whose `Pulumi.<stack>.yaml` is read
 * @param settings `key=value`, which win over the files
 * @throws ConfigError when there is no such stack, a file is not YAML, or a secret in clear text
 */
export function readSettings(stack: string, settings: string[]): Values {
  requireStackName(stack);
  const file = `Pulumi.${stack}.yaml`;
  if (!fs.existsSync(file)) {
    const stacks = fs
      .readdirSync(".")
      .flatMap((name) => /^Pulumi\.(.+)\.yaml$/.exec(name)?.[1] ?? []);
    throw new ConfigError(`there is no ${file}: STACK must be one of ${stacks.join(", ")}`);
  }
  const read = (name: string) => {
    try {
      return parse(fs.readFileSync(name, "utf8"))?.config ?? {};
    } catch (error) {
      throw new ConfigError(
        `${name} is not YAML: ${oneLine((error as Error).message.split(/:?\n/)[0])}`,
      );
    }
  };
  const declared: Record<string, { default?: unknown }> = read("Pulumi.yaml");
  const defaults = Object.entries(declared).map(([key, { default: value }]) => [
    key,
    String(value ?? ""),
  ]);
  const own = Object.entries(read(file)).flatMap(([key, value]) => {
    const [owner, name] = key.split(":");
    if (owner !== project || value === null) return [];
    const isMap = typeof value === "object";
    if (name === "scriptEnv" && isMap && [value, ...Object.values(value!)].some(isEncrypted)) {
      throw new ConfigError(
        `configuration key "scriptEnv" is plain, but has a secret: set that with ` +
          `pulumi config set --secret --path scriptSecrets.<name>`,
      );
    }
    // What is encrypted only Pulumi can read; its program checks it.
    return isEncrypted(value) ? [] : [[name, isMap ? JSON.stringify(value) : String(value)]];
  });
  const values: Values = Object.fromEntries([...defaults, ...own, ...settings.map(keyAndValue)]);
  // Neither in a committed file nor on a command line, which anybody on this machine can read.
  const unset: Values = Object.fromEntries(defaults);
  const plain = secretKeys.find((key) => values[key] && values[key] !== unset[key]);
  if (plain) {
    const path = plain === "scriptSecrets" ? `--path ${plain}.<name>` : plain;
    throw new ConfigError(
      `configuration key "${plain}" is a secret: set it with pulumi config set --secret ${path}`,
    );
  }
  return values;
}
