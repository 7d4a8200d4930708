/** The generated passwords of a stack: which `make rotate` changes, and whether it came to its end. */
import type { Resource } from "./drift";

/**
 * Nobody logs in with these. Another secret key would leave what Grafana has encrypted unreadable;
 * the first password is void as soon as Grafana has the administrator's own.
 */
const kept = ["grafana-secret-key", "grafana-first-password"];

/** The passwords that are logged in with, by URN. */
function logins(resources: Resource[]): Map<string, string> {
  const found = resources.filter(
    ({ urn, type, delete: replaced }) =>
      type === "random:index/randomPassword:RandomPassword" &&
      !replaced &&
      !kept.includes(urn.split("::").at(-1)!),
  );
  return new Map(
    found.map(({ urn, outputs }) => [
      urn,
      JSON.parse((outputs?.result as { plaintext: string }).plaintext),
    ]),
  );
}

/** The URNs of the passwords that are logged in with. */
export const loginPasswords = (resources: Resource[]): string[] => [...logins(resources).keys()];

/**
 * Whether a change of passwords ended half-way: something that goes by a password goes by one of
 * before.
 *
 * @param resources with their secrets in clear text
 * @param except what gets passwords only when it is used, by URN
 */
export function isHalfRotated(resources: Resource[], except: string): boolean {
  const passwords = logins(resources);
  return resources.some(
    ({ urn, delete: replaced, inputs, propertyDependencies }) =>
      urn !== except &&
      !replaced &&
      Object.entries(propertyDependencies ?? {}).some(([property, urns]) => {
        const held = JSON.stringify(inputs?.[property] ?? "");
        return (urns ?? []).some((each) => !held.includes(passwords.get(each) ?? ""));
      }),
  );
}
