/** Which versions of the programs of a stack work: the major ones that the tests have run. */

const supported = {
  Grafana: { majors: [12], tried: "12.4.0" },
  InfluxDB: { majors: [1], tried: "1.8.10" },
  k6: { majors: [1, 2], tried: "1.8.1 and 2.2.0" },
};

export type Program = keyof typeof supported;

/**
 * What must be instead of a version such as `v2.2.0`, as a phrase; `undefined` if that works.
 *
 * @param version as the program tells it, with or without `v`
 */
export function otherThan(program: Program, version: string): string | undefined {
  const { majors, tried } = supported[program];
  if (majors.includes(Number(/^v?(\d+)\.\d/.exec(version)?.[1]))) return undefined;
  return `it must be ${majors.map((major) => `${major}.x`).join(" or ")} (tried: ${tried})`;
}
