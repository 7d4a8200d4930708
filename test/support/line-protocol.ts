/** A reader of InfluxDB's line protocol, written after its reference, for what the ledger writes. */

/** A point: text is text, a number a number. */
export interface Point {
  measurement: string;
  tags: Record<string, string>;
  fields: Record<string, string | number>;
  /** Nanoseconds since 1970. */
  time: string;
}

/** Reads one point. @throws Error when the text is none, or more than one */
export function pointOf(text: string): Point {
  let at = 0;
  const fail = (what: string): never => {
    throw new Error(`${what} at ${at} of ${JSON.stringify(text)}`);
  };
  /** Up to one of these characters; a backslash takes away the meaning of the next. */
  const upTo = (ends: string) => {
    let word = "";
    while (at < text.length && !ends.includes(text[at])) {
      if (text[at] === "\n") fail("a line ends");
      if (text[at] === "\\" && ", =".includes(text[at + 1])) at++;
      word += text[at++];
    }
    return word || fail("nothing");
  };
  const expectOne = (sign: string) => (text[at++] === sign ? undefined : fail(`no "${sign}"`));
  const quoted = () => {
    let word = "";
    for (at++; text[at] !== '"'; at++) {
      if (at >= text.length) fail("a text without an end");
      if (text[at] === "\n") fail("a line ends");
      if (text[at] === "\\" && '"\\'.includes(text[at + 1])) at++;
      word += text[at];
    }
    at++;
    return word;
  };
  const number = () => {
    const word = upTo(", ");
    if (!/^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(word)) fail("no number");
    return Number.isFinite(Number(word)) ? Number(word) : fail("no number");
  };

  const measurement = upTo(", ");
  const tags: Point["tags"] = {};
  while (text[at] === ",") {
    at++;
    const name = upTo("= ,");
    expectOne("=");
    tags[name] = upTo("=, ");
  }
  expectOne(" ");
  const fields: Point["fields"] = {};
  for (;;) {
    const name = upTo("= ,");
    expectOne("=");
    if (Object.hasOwn(fields, name)) fail("the same field");
    fields[name] = text[at] === '"' ? quoted() : number();
    if (text[at] !== ",") break;
    at++;
  }
  expectOne(" ");
  const time = text.slice(at);
  if (!/^-?\d+$/.test(time)) fail("no time");
  return { measurement, tags, fields, time };
}
