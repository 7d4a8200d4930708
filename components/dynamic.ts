/** What the dynamic resources have in common: those of what lives inside InfluxDB and Grafana. */
import * as pulumi from "@pulumi/pulumi";

/** The arguments of a resource whose state these are. */
export type Inputs<State> = { [Key in keyof State]: pulumi.Input<State[Key]> };

export type Provider<State> = pulumi.dynamic.ResourceProvider<State, State>;

/** The diff of properties by name: those in `identity` replace, all others update in place. */
export const compare = <State extends object>(
  olds: State,
  news: State,
  identity: (keyof State & string)[],
): pulumi.dynamic.DiffResult => {
  const changed = (Object.keys(news) as (keyof State & string)[]).filter(
    (key) => key !== "__provider" && olds[key] !== news[key],
  );
  return {
    changes: changed.length > 0,
    replaces: changed.filter((key) => identity.includes(key)),
    deleteBeforeReplace: true,
  };
};

/** Options that keep passwords secret in the state. */
export const secret = (opts?: pulumi.CustomResourceOptions) =>
  pulumi.mergeOptions(opts, {
    additionalSecretOutputs: ["adminPassword", "password", "firstPassword"],
  });
