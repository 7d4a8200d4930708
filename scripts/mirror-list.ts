/** What a stack fetches from outside, for those who mirror it into a closed network. */
import * as fs from "node:fs";
import { clusterPackages, imagesOf, type StackConfig } from "../config";

/** A package.json, as far as it is of interest. */
interface Package {
  version: string;
  dependencies: Record<string, string>;
  /** Of a package whose resources a plugin of Pulumi makes. */
  pulumi?: { resource?: boolean; name: string; version: string; server?: string };
}

/**
 * One thing a line, its kind first:
 *
 *     image <reference>
 *     chart <version> <address>
 *     cli <version> <address>
 *     plugin <name> <version> <address>
 *     npm <file that lists the packages>
 *
 * @param platform of the Pulumi CLI and its plugins, as Node calls it
 */
export function mirrorList(
  config: StackConfig,
  { platform, arch }: { platform: string; arch: string },
): string[] {
  const read = (file: string): Package => JSON.parse(fs.readFileSync(file, "utf8"));
  const installed = (name: string) => read(`node_modules/${name}/package.json`);
  const { version } = installed("pulumi");
  const cli = `https://get.pulumi.com/releases/sdk/pulumi-v${version}-${platform}-${arch}.tar.gz`;
  const { executor } = config;
  const plugins = [
    ...Object.keys(read("package.json").dependencies),
    ...(executor.kind === "kubernetes" ? clusterPackages : []),
  ]
    .flatMap((name) => installed(name).pulumi ?? [])
    .filter(({ resource }) => resource)
    .map(({ name, version, server }) => {
      // Where Pulumi looks first. Its own plugins name no server.
      const [, owner] = /^github:\/\/api\.github\.com\/([^/]+)$/.exec(server ?? "") ?? [];
      if (server && !owner) return `plugin ${name} ${version} ${server}`;
      const asset = `pulumi-resource-${name}-v${version}-${platform}-${goArch(arch)}.tar.gz`;
      const release = `${owner ?? "pulumi"}/pulumi-${name}/releases/download/v${version}`;
      return `plugin ${name} ${version} https://github.com/${release}/${asset}`;
    });
  const operator = executor.kind === "kubernetes" ? executor.operator : undefined;
  return [
    ...imagesOf(config).map((image) => `image ${image}`),
    // One at a path is there.
    ...(operator?.chart.includes("://") ? [`chart ${operator.version} ${operator.chart}`] : []),
    `cli ${version} ${cli}`,
    ...plugins,
    "npm package-lock.json",
  ];
}

/** Plugins are named by Go's word for the processor, the CLI by Node's. */
const goArch = (arch: string) => (arch === "x64" ? "amd64" : arch);
