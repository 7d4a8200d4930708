/** Every configuration value as `make` gives it: defaults, the stack's file, the command line. */
import * as fs from "node:fs";
import { parse } from "yaml";
import { ConfigError, project, secretKeys, type Values } from "../config";

/**
 * @param stack whose `Pulumi.<stack>.yaml` is read
 * @param settings `key=value`, which win over the files
 * @throws ConfigError when there is no such stack, or a secret in clear text
 */
export function readSettings(stack: string, settings: string[]): Values {
  const file = `Pulumi.${stack}.yaml`;
  if (!fs.existsSync(file)) {
    const stacks = fs
      .readdirSync(".")
      .flatMap((name) => /^Pulumi\.(.+)\.yaml$/.exec(name)?.[1] ?? []);
    throw new ConfigError(`there is no ${file}: STACK must be one of ${stacks.join(", ")}`);
  }
  const read = (name: string) => parse(fs.readFileSync(name, "utf8"))?.config ?? {};
  const values: Values = {};
  const declared: Record<string, { default?: unknown }> = read("Pulumi.yaml");
  for (const [key, { default: value }] of Object.entries(declared)) {
    values[key] = String(value ?? "");
  }
  for (const [key, value] of Object.entries(read(file))) {
    const [owner, name] = key.split(":");
    // What is encrypted only Pulumi can read; its program checks it.
    if (owner === project && typeof value !== "object") values[name] = String(value);
  }
  for (const setting of settings) {
    const [key, ...value] = setting.split("=");
    values[key] = value.join("=");
  }
  // Neither in a committed file nor on a command line, which anybody on this machine can read.
  const plain = secretKeys.find((key) => values[key]);
  if (plain) {
    throw new ConfigError(
      `configuration key "${plain}" is a secret: set it with pulumi config set --secret ${plain}`,
    );
  }
  return values;
}
