/** What all that the stack makes in a Kubernetes cluster has in common. */
import * as kubernetes from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { isIPv4 } from "node:net";
import type { Address } from "../runner/types";

/** Makes things in the cluster of one of the kubeconfig's contexts. */
export function clusterProvider(name: string, context: string, parent: pulumi.Resource) {
  // First it goes from the cluster before: if that is the same by another name, it is in the way.
  const opts: pulumi.CustomResourceOptions = { parent, deleteBeforeReplace: true };
  return new kubernetes.Provider(
    name,
    {
      context,
      // The provider looks for it itself, as kubectl does: in KUBECONFIG, which may name several
      // files, and in the home folder. Left out, KUBECONFIG's text would be in the state.
      kubeconfig: "",
      // Another context is another cluster, where everything has to be made anew.
      clusterIdentifier: context,
    },
    opts,
  );
}

/**
 * Labels that have the cluster refuse pods that may do more than they must. By the rules of the
 * cluster's own release: where those get stricter, a run says so at its first pod.
 */
export const restricted = Object.fromEntries(
  ["enforce", "audit", "warn"].flatMap((mode) => [
    [`pod-security.kubernetes.io/${mode}`, "restricted"],
    [`pod-security.kubernetes.io/${mode}-version`, "latest"],
  ]),
);

/** Selects a namespace. */
export const named = (namespace: string) => ({
  matchLabels: { "kubernetes.io/metadata.name": namespace },
});

/** What pods may reach. */
export interface Reached extends Address {
  /** Where its pods are, if it is one of the cluster's own services under an address of the nodes. */
  namespace?: string;
}

/** Name servers, of a network policy. */
export const nameServers = { ports: ["UDP", "TCP"].map((protocol) => ({ protocol, port: 53 })) };

/** The rules of a network policy that let pods reach something. */
export function waysTo({ podUrl, url, namespace }: Reached) {
  // A network plugin may look at packets before or after the cluster has sent them on to a pod.
  const pods = namespace ? [{ to: [{ namespaceSelector: named(namespace) }] }] : [];
  return [wayTo(podUrl ?? url), ...pods];
}

/** By a name, it may be on any address. */
function wayTo(url: string) {
  const { protocol, hostname, port } = new URL(url);
  // A service of the cluster: what counts is the port of its pods, which may be another.
  const [, namespace] = /^[^.]+\.([^.]+)\.svc(?:\.|$)/.exec(hostname) ?? [];
  if (namespace) return { to: [{ namespaceSelector: named(namespace) }] };
  return {
    to: isIPv4(hostname) ? [{ ipBlock: { cidr: `${hostname}/32` } }] : undefined,
    ports: [{ protocol: "TCP", port: Number(port) || (protocol === "https:" ? 443 : 80) }],
  };
}
