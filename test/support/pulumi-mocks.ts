/**
 * Pulumi without an engine: records what a program registers, together with the options that
 * Pulumi's mocks hide (parent, dependencies, `deletedWith`, ...). One recording at a time in a file.
 */
import * as pulumi from "@pulumi/pulumi";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as ts from "typescript";

/** A value that Pulumi was told to keep secret. */
export class Secret {
  constructor(readonly value: unknown) {}
}

/** For expectations. */
export const secret = (value: unknown) => new Secret(value);

/** One registered resource. Other resources are given as `<type>::<name>`. */
export interface Registered {
  type: string;
  name: string;
  custom: boolean;
  parent: string;
  urn: string;
  /** Without `undefined`; secrets as `Secret`; without a dynamic provider's code. */
  inputs: Record<string, unknown>;
  /** The code of a dynamic provider, as it is stored in the state. */
  code?: string;
  /** Sorted, explicit ones and those of inputs; a component stands for what is in it. */
  dependencies: string[];
  deletedWith: string;
  protect: boolean;
  provider: string;
  replaceOnChanges: string[];
  deleteBeforeReplace: boolean;
  /** Outputs that are secret though their inputs may not be. */
  secretOutputs: string[];
}

/** What a resource of a type adds to its inputs to make its state. */
export type States = Record<string, (name: string, inputs: Record<string, any>) => object>;

/** The password that the resource of this name generates. */
export const generated = (name: string) => `generated-${name}`;

const states: States = {
  "random:index/randomPassword:RandomPassword": (name) => ({ result: generated(name) }),
  "docker:index/remoteImage:RemoteImage": (_, { name }) => ({ imageId: `sha256 of ${name}` }),
};

/** Everything that was registered since `recordPulumi`, by `<type>::<name>` and in order. */
export class Recording {
  readonly all: Registered[] = [];

  /** Waits until everything that was constructed is registered. */
  async done(): Promise<this> {
    await pulumi.runtime.disconnect();
    return this;
  }

  /** The types and names, sorted. */
  get refs(): string[] {
    return this.all.map(({ type, name }) => `${type}::${name}`).sort();
  }

  /** The resource of this type and name; an error when there is none, or more than one. */
  get(type: string, name: string): Registered {
    const found = this.all.filter((each) => each.type === type && each.name === name);
    if (found.length !== 1) throw new Error(`${found.length} of ${type}::${name} in ${this.refs}`);
    return found[0];
  }

  ofType(type: string): Registered[] {
    return this.all.filter((each) => each.type === type);
  }
}

/**
 * From now on, resources are registered with a new recording.
 *
 * @param more states of types that have outputs of their own
 */
export function recordPulumi(more: States = {}, stack = "dev"): Recording {
  const recording = new Recording();
  const refs = new Map<string, string>();
  let request: any;
  const newResource = ({ type, name, inputs, custom }: pulumi.runtime.MockResourceArgs) => {
    const ref = (urn: string) => refs.get(urn) ?? urn;
    const { __provider: code, ...rest } = readable(inputs) as Record<string, unknown>;
    const secretOutputs: string[] = request.getAdditionalsecretoutputsList();
    recording.all.push({
      type,
      name,
      custom: custom ?? false,
      parent: ref(request.getParent()),
      urn: monitor.newUrn(request.getParent(), type, name),
      inputs: rest,
      ...(code === undefined ? {} : { code: String(code) }),
      dependencies: request.getDependenciesList().map(ref).sort(),
      deletedWith: ref(request.getDeletedwith()),
      protect: request.getProtect(),
      provider: ref(request.getProvider().replace(/::[^:]*$/, "")),
      replaceOnChanges: request.getReplaceonchangesList(),
      deleteBeforeReplace: request.getDeletebeforereplace(),
      secretOutputs: [...secretOutputs].sort(),
    });
    const state: Record<string, unknown> = {
      ...inputs,
      ...(more[type] ?? states[type])?.(name, inputs),
    };
    // As the engine does it.
    for (const each of secretOutputs) if (each in state) state[each] = pulumi.secret(state[each]);
    return { id: custom ? `id of ${name}` : "", state };
  };
  void pulumi.runtime.setMocks(
    { newResource, call: ({ inputs }) => inputs },
    "coupon-load-test",
    stack,
  );

  const monitor = pulumi.runtime.getMonitor() as any;
  const register = monitor.registerResource.bind(monitor);
  monitor.registerResource = (its: any, callback: (error: unknown, response: any) => void) => {
    request = its; // `register` calls `newResource` before it returns
    refs.set(
      monitor.newUrn(its.getParent(), its.getType(), its.getName()),
      `${its.getType()}::${its.getName()}`,
    );
    register(its, callback);
  };
  return recording;
}

/** Every text in a value, with those under a `Secret` left out. */
export function openTexts(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (value instanceof Secret || typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(openTexts);
}

/**
 * A file of the project with all that it requires, compiled by TypeScript with the project's own
 * options, as Pulumi does it: what the tests' own compiler makes cannot be stored as text.
 */
export function requireAsPulumi<T>(file: string): T {
  compileAsPulumi();
  return require(path.resolve(file));
}

/** From now on, what is required is compiled like that. */
export function compileAsPulumi() {
  const { compilerOptions } = ts.parseConfigFileTextToJson(
    "tsconfig.json",
    fs.readFileSync(path.resolve(__dirname, "../../tsconfig.json"), "utf8"),
  ).config;
  require.extensions[".ts"] = (module, fileName) => {
    const source = fs.readFileSync(fileName, "utf8");
    const { outputText } = ts.transpileModule(source, { compilerOptions, fileName });
    (module as unknown as { _compile(text: string, name: string): void })._compile(
      outputText,
      fileName,
    );
  };
}

type State = Record<string, unknown>;

/** A dynamic provider as Pulumi's process sees it. */
export interface Provider {
  create(inputs: State): Promise<{ id: string; outs: State }>;
  read(id: string, props: State): Promise<{ id?: string; props?: State }>;
  diff(id: string, olds: State, news: State): Promise<{ changes: boolean; replaces: string[] }>;
  update(id: string, olds: State, news: State): Promise<{ outs: State }>;
  delete(id: string, props: State): Promise<void>;
}

/** Brings a dynamic provider back from the text that is in the state. */
export function revived(code: string): Provider {
  const exports: { handler?: () => Provider } = {};
  // Without `require`: what it needs must be in the text.
  new Function("exports", code)(exports);
  return exports.handler!();
}

/** What an output holds once it is known. */
export const valueOf = <T>(output: pulumi.Input<T>): Promise<pulumi.Unwrap<T>> =>
  new Promise((resolve) => pulumi.output(output).apply(resolve));

/** The wire form of inputs, with secrets as `Secret`. */
function readable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== "object" || value === null) return value;
  const object = value as Record<string, unknown>;
  if (object[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig) {
    return new Secret(readable(object.value));
  }
  return Object.fromEntries(Object.entries(object).map(([key, each]) => [key, readable(each)]));
}

/**
 * Enters a temporary folder with the project's folders in it, so that what is built there is the
 * caller's own; gives the function that leaves and removes it.
 */
export function enterProjectCopy(...folders: string[]): () => void {
  const project = process.cwd();
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), "project-"));
  for (const folder of folders) fs.symlinkSync(path.resolve(folder), path.join(copy, folder));
  process.chdir(copy);
  return () => {
    process.chdir(project);
    fs.rmSync(copy, { recursive: true });
  };
}
