/** What fast-check makes up for the fuzz tests. */
import fc from "fast-check";
import { figures, type Figure } from "../../k6/profile";
import type { NewEntry } from "../../runner/ledger";

// The same cases each time, so that a change is what makes a test fail; FUZZ_SEED tries others.
fc.configureGlobal({ seed: Number(process.env.FUZZ_SEED ?? 20261125) });

/** Values that are right for some key. */
export const right = [
  ...["sample", "external", "http://localhost:8080", "https://a.local/b", "http://[::1]:1/", ""],
  ...["a.example, *.b.example", "[::1]", "k6/coupon-issue.ts", "k6/profile.ts", "0", "1", "1000"],
  ...["65535", "1m", "500ms", "1h30m", "24h", "168h", "0.01", ".5", "1.0", "30d", "730d", "4w"],
  ...["dev-20260102T030405Z", "p95 10%, rps 5%", "avg 0.5 %", "docker", "local", "k6", "true"],
  ...["https://hooks.example/T0/B0", "a@b.example, c@d.example", "mail.example.com:25"],
  ...['{"TENANT":"acme","N":1}', "{}"],
  ...["influxdb:1.8.10", `a/b@sha256:${"0".repeat(64)}`],
];

/** Text that shells, make, JSON, InfluxQL, line protocol or terminals read as something else. */
const pieces = [
  ..."'\"`\\$%#=,;:&|<>(){}[]*?!~^@/+-_. \t\n\r\0\x07\x1b\x7f\x85\u2028\u00a0\u00ad\ufeff",
  ...["$(touch pwned)", "`touch pwned`", "$$", "${x}", "$(shell touch pwned)", "\\'", "'; DROP"],
  ...["../", "/..", "--", "-rf", "\r\n", "%00", "%2e", "&&", "쿠폰", "é", "ｌ", "😀", "\ud800"],
  ...["1e3", "0x10", "007", "NaN", "Infinity", "__proto__", "constructor", "null", "9".repeat(400)],
];

/** What is written by hand, and nearly right; or as it comes; or very long. */
export const piece = fc.oneof(
  fc.constantFrom(...pieces),
  fc.string({ unit: "binary", maxLength: 4 }),
);
const nearly = fc
  .tuple(fc.constantFrom(...right), piece, fc.nat(), fc.nat({ max: 2 }))
  .map(([text, part, at, cut]) => {
    const place = at % (text.length + 1);
    return text.slice(0, place) + part + text.slice(place + cut);
  });
const long = fc
  .tuple(fc.constantFrom(...right), piece, fc.integer({ min: 100, max: 20_000 }), piece)
  .map(([text, part, times, end]) => text + part.repeat(times) + end);
export const anyText = fc.oneof(
  { weight: 6, arbitrary: nearly },
  { weight: 3, arbitrary: fc.array(piece, { maxLength: 8 }).map((parts) => parts.join("")) },
  { weight: 3, arbitrary: fc.constantFrom(...right) },
  { weight: 2, arbitrary: fc.string({ unit: "binary" }) },
  { weight: 1, arbitrary: fc.oneof(fc.double(), fc.maxSafeInteger(), fc.float()).map(String) },
  { weight: 1, arbitrary: long },
);

/** Text as it comes out of UTF-8, without halves of characters. */
export const wellFormed = (text: string) => Buffer.from(text).toString();

/** A run to be written into the ledger, with any text and any figures. */
export const entryOf = (id: string): fc.Arbitrary<NewEntry> => {
  const text = anyText.map(wellFormed);
  const number = fc.oneof(fc.double(), fc.nat(), fc.constantFrom(0, -0, 1e21, 5e-324, 0.1 + 0.2));
  const some = fc.record(
    Object.fromEntries(Object.keys(figures).map((figure) => [figure, number])) as Record<
      Figure,
      typeof number
    >,
  );
  const baseline = fc.record({
    id: fc.constant(id),
    ...{ verdict: text, scenario: text, profile: text },
    figures: some,
  });
  return fc.record(
    {
      id: fc.constant(id),
      startedAt: fc.constant(new Date("2026-01-02T03:04:05.678Z")),
      endedAt: fc.constant(new Date("2026-01-02T03:05:05.678Z")),
      verdict: fc.constantFrom("passed", "failed"),
      ...{ outcome: text, k6Version: text, figures: some, baseline },
    },
    { requiredKeys: ["id", "startedAt", "endedAt", "verdict", "outcome"] },
  );
};
