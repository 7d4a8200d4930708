/** The generated passwords of a stack: which `make rotate` changes, and who goes by them. */
import type { Resource } from "./drift";

/**
 * Nobody logs in with these. Another secret key would leave what Grafana has encrypted unreadable;
 * the first password is void as soon as Grafana has the administrator's own.
 */
const kept = ["grafana-secret-key", "grafana-first-password"];

/** Passwords that are logged in with, and what goes by one, by URN. */
export interface Rotation {
  passwords: string[];
  holders: string[];
  /** Those of the holders that go by a password of before: a rotation ended half-way. */
  late: string[];
}

/**
 * @param resources with their secrets in clear text
 * @param except what gets passwords only when it is used, by URN: it is no holder
 */
export function rotationOf(resources: Resource[], except: string): Rotation {
  const passwords = new Map(
    resources
      .filter(
        ({ urn, type }) =>
          type === "random:index/randomPassword:RandomPassword" &&
          !kept.includes(urn.split("::").at(-1)!),
      )
      .map(({ urn, outputs }) => [
        urn,
        JSON.parse((outputs?.result as { plaintext: string }).plaintext) as string,
      ]),
  );
  /** Whether each password that a resource is made of is in the input that is made of it. */
  const held = ({ inputs, propertyDependencies }: Resource) =>
    Object.entries(propertyDependencies ?? {}).flatMap(([property, urns]) =>
      (urns ?? []).flatMap((urn) => {
        const password = passwords.get(urn);
        return password ? [JSON.stringify(inputs?.[property] ?? "").includes(password)] : [];
      }),
    );
  const holders = resources
    .filter(({ urn }) => urn !== except)
    .map((each) => ({ urn: each.urn, held: held(each) }))
    .filter(({ held }) => held.length > 0);
  return {
    passwords: [...passwords.keys()],
    holders: holders.map(({ urn }) => urn),
    late: holders.filter(({ held }) => held.includes(false)).map(({ urn }) => urn),
  };
}
