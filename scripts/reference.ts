/**
 * What the pages of docs/ take from the code: every configuration key, and every message that the page of
 * troubleshooting does not explain.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import ts from "typescript";
import { parse } from "yaml";
import { secretKeys } from "../config";
import { filled } from "../runner/report";

/** Every key of Pulumi.yaml, in the order in which people look for them. */
const groups: Record<string, string[]> = {
  "What is tested": [
    ...["target", "baseUrl", "allowedHosts", "caFile", "insecureSkipTLSVerify"],
    ...["script", "scriptEnv", "scriptSecrets"],
  ],
  "How much load": [
    ...["rate", "timeUnit", "duration", "stages", "preAllocatedVUs", "maxVUs"],
    ...["maxRate", "maxDuration"],
  ],
  "Limits and verdict": [
    ...["p95LimitMs", "p99LimitMs", "failedRateLimit", "checksRateLimit"],
    ...["droppedIterationsLimit", "routeLimits", "starvedGenerator", "maxSeries"],
    ...["baseline", "maxRegression", "runId"],
  ],
  "The search of make capacity": [
    ...["capacityFrom", "capacityTo", "capacityGrowth", "capacityStep", "capacityHold"],
  ],
  "The coupon scenario and the sample API": [
    ...["userIdBase", "userCount", "couponId", "couponStock", "couponApiPort"],
  ],
  "Where it runs": [
    "platform",
    "executor",
    "k6Binary",
    "bindAddress",
    "influxdbPort",
    "grafanaPort",
  ],
  "In a cluster": [
    ...["kubeContext", "kubeHostAddress", "kubeNodeAddress", "parallelism", "runnerCpu"],
    ...["k6OperatorChart", "k6OperatorImage", "k6StarterImage"],
  ],
  "What is kept": ["retention", "historyRetention", "keepData"],
  Alerts: [
    ...["alertWebhookUrl", "alertSlackUrl", "alertEmail", "smtpHost", "smtpUser", "smtpPassword"],
  ],
  Images: [
    ...["imageRegistry", "influxdbImage", "grafanaImage", "k6Image", "redisImage", "nodeImage"],
  ],
};

interface Key {
  type?: string;
  default: unknown;
  description: string;
}

/** What reads as code in a description: JSON, quotations, addresses, patterns, keys of several words. */
const code = /\{[^}]*\}|"[^"]*"|https?:\/\/[^\s,;]*[\w/]|\*\.[\w.]*\w|__\w+|\b[a-z]+\d?[A-Z]\w*/g;

const described = (text: string) =>
  text.replace(code, (found) => "`" + found.replace(/^"(.*)"$/, "$1") + "`");

/** The reference of all keys, as Markdown. @throws Error naming a key that is in no group, or in two */
export function keys(root: string): string {
  const declared: Record<string, Key> = parse(read(root, "Pulumi.yaml")).config;
  const grouped = Object.values(groups).flat();
  for (const key of new Set([...Object.keys(declared), ...grouped])) {
    if (key in declared && grouped.filter((each) => each === key).length === 1) continue;
    throw new Error(`"${key}" must be in Pulumi.yaml, and in one group of scripts/reference.ts`);
  }
  const entry = (key: string) => {
    const { type = "map", default: value, description } = declared[key];
    const kind = secretKeys.includes(key) ? `secret ${type}` : type;
    const unset = value === "" ? "empty" : `\`${value}\``;
    return `#### ${key}\n\n_${kind}, default ${unset}_\n\n${described(description)}`;
  };
  return Object.entries(groups)
    .flatMap(([title, of]) => [`### ${title}`, ...of.map(entry)])
    .join("\n\n");
}

/** The folders and files that have messages for people. */
const sources = ["components", "rehearsal", "runner", "scripts", "config.ts", "values.ts"];

/** Whose messages are for those who write documents. */
const writers = ["runner/report.ts", "scripts/reference.ts"];

/** The messages of all errors that are thrown, by the file that has them; `…` is for a value. */
export function messages(root: string): Map<string, string[]> {
  const files = sources.flatMap((place) =>
    place.endsWith(".ts")
      ? [place]
      : fs
          .readdirSync(path.join(root, place))
          .sort()
          .map((name) => `${place}/${name}`),
  );
  const found = new Map<string, string[]>();
  const isSource = (name: string) => name.endsWith(".ts") && !writers.includes(name);
  for (const file of files.filter(isSource)) {
    const source = ts.createSourceFile(file, read(root, file), ts.ScriptTarget.Latest);
    const own: string[] = [];
    const visit = (node: ts.Node) => {
      if (ts.isNewExpression(node) && ts.isIdentifier(node.expression) && node.arguments?.[0]) {
        if (/^(\w*Error|\w*Failure)$/.test(node.expression.text))
          own.push(...texts(node.arguments[0]));
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
    // Of a message that is all values nothing can be said.
    const known = own
      .map((text) => text.replace(/…[… ]*…/g, "…"))
      .filter((text) => /\w{3}/.test(text));
    if (known.length > 0) found.set(file, [...new Set(known)]);
  }
  return found;
}

/** What an expression may come to as text. */
function texts(node: ts.Expression): string[] {
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isParenthesizedExpression(node)) return texts(node.expression);
  if (ts.isConditionalExpression(node)) return [...texts(node.whenTrue), ...texts(node.whenFalse)];
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    return texts(node.left).flatMap((left) => texts(node.right).map((right) => left + right));
  }
  if (ts.isTemplateExpression(node)) {
    return [node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join("")];
  }
  return ["…"];
}

/** The messages that a page explains: its headings of the third level that are code. */
export const explained = (page: string) =>
  [...page.matchAll(/^### `(.*)`$/gm)].map(([, message]) => message);

/** Whether a message is one of a pattern, in which `…` is for anything. Quotes may be part of a value. */
export function isOf(pattern: string, message: string): boolean {
  const parts = pattern.replaceAll('"', "").split("…");
  const escaped = parts.map((part) => part.replace(/[/\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`).test(message.replaceAll('"', ""));
}

/** The messages that the page does not explain, as Markdown. */
export function otherMessages(root: string, page: string): string {
  const known = explained(page);
  return [...messages(root)]
    .flatMap(([file, all]) => {
      const others = all.filter((message) => !known.some((pattern) => isOf(pattern, message)));
      const items = others.map((message) => `- \`${message.trim()}\``);
      return items.length > 0 ? [`\`${file}\`:\n\n${items.join("\n")}`] : [];
    })
    .join("\n\n");
}

/** The pages that take something from the code, with it in its place. */
export function pages(root: string): Record<string, string> {
  const configuration = "docs/configuration.md";
  const troubleshooting = "docs/troubleshooting.md";
  const page = read(root, troubleshooting);
  return {
    [configuration]: filled(read(root, configuration), "keys", keys(root)),
    [troubleshooting]: filled(page, "messages", otherMessages(root, page)),
  };
}

const read = (root: string, file: string) => fs.readFileSync(path.join(root, file), "utf8");
