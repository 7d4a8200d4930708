/** Which Docker is meant: the one that `docker context use` has chosen, for Pulumi's provider, too. */
import * as crypto from "node:crypto";
import * as os from "node:os";
import * as path from "node:path";
import { isOwnHost } from "../runner/gate";
import { readJson } from "../runner/verify";
import { ConfigError } from "../values";

/**
 * Where Docker listens, such as `unix:///home/me/.colima/default/docker.sock`, by Docker's own rules:
 * `DOCKER_HOST`, else the context of `DOCKER_CONTEXT`, else the one that its configuration names.
 * `undefined` is Docker's default.
 *
 * @throws ConfigError when there is no such context
 */
export function dockerHost(env: NodeJS.ProcessEnv): string | undefined {
  if (env.DOCKER_HOST) return env.DOCKER_HOST;
  const folder = env.DOCKER_CONFIG || path.join(os.homedir(), ".docker");
  const context = env.DOCKER_CONTEXT || readJson(path.join(folder, "config.json"))?.currentContext;
  if (!context || context === "default") return undefined;
  // Docker's own store of contexts: a folder each, called by the hash of its name.
  const id = crypto.createHash("sha256").update(context).digest("hex");
  const meta = readJson(path.join(folder, "contexts/meta", id, "meta.json"));
  const host: unknown = meta?.Endpoints?.docker?.Host;
  if (typeof host === "string" && host) return host;
  throw new ConfigError(
    `Docker's context is ${JSON.stringify(context)}, but there is none of that name: ` +
      "choose another one, see docker context ls",
  );
}

/** Whether it is on another machine, whose ports are not those of this one. */
export function isElsewhere(host: string): boolean {
  if (!/^(ssh|tcp|https?):\/\//.test(host)) return false;
  return !isOwnHost(new URL(host.replace(/^\w+:/, "http:")).hostname);
}
