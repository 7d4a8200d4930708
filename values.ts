/** Raw configuration values, and how one becomes a number, a duration, an image or the like. */
import { durationSeconds } from "./k6/profile";

/** Raw values by key, without the project's name before the key. */
export type Values = Record<string, string>;

/** A refused value. Pulumi prints errors with this mark without a stack trace. */
export class ConfigError extends Error {
  readonly __pulumiRunError = true;
}

/**
 * Reads values one by one. Each method gives the value of a key as its type, or refuses it: throws a
 * `ConfigError` with the key, the value and what is allowed.
 */
export class Reader {
  private readonly known = new Set<string>();

  /** @param secretKeys those whose values are not shown when they are refused */
  constructor(
    private readonly values: Values,
    private readonly secretKeys: string[],
  ) {}

  refuse(key: string, allowed: string): never {
    const value = this.values[key] ?? "";
    const shown = value && this.secretKeys.includes(key) ? "[secret]" : value;
    throw new ConfigError(
      `configuration key ${JSON.stringify(key)} is ${JSON.stringify(shown)}: ${allowed}`,
    );
  }

  /** Any text; empty if there is none. */
  text(key: string): string {
    this.known.add(key);
    return this.values[key] ?? "";
  }

  /** A text that has characters, and none that would break a line. */
  line(key: string, allowed: string): string {
    const value = this.text(key);
    return /^[^\p{Cc}]+$/u.test(value) ? value : this.refuse(key, allowed);
  }

  /** Texts, separated by commas; none of them empty. */
  list(key: string): string[] {
    return this.text(key)
      .split(",")
      .map((each) => each.trim())
      .filter((each) => each !== "");
  }

  /**
   * Texts by name, out of a JSON object; `undefined` if there are none. A whole number and a boolean
   * stand for their text: other numbers have several.
   */
  map(key: string): Record<string, string> | undefined {
    const text = this.text(key);
    const allowed = 'must be a map of texts, such as {"TENANT":"acme"}';
    if (Buffer.byteLength(text) > longestMap) this.refuse(key, `${allowed}, of 64 kB at most`);
    const entries = Object.entries(parsedMap(text) ?? this.refuse(key, allowed));
    for (const [name, value] of entries) {
      if (!/^[A-Za-z]\w*$/.test(name)) {
        const but = `but ${JSON.stringify(name)} is no name of letters, digits and _`;
        this.refuse(key, `${allowed}, ${but} that begins with a letter`);
      }
      const isText = typeof value === "string" && !/[\0\p{Cs}]/u.test(value);
      if (!isText && typeof value !== "boolean" && !Number.isSafeInteger(value)) {
        this.refuse(key, `${allowed}, but ${name} is none: put it in quotes`);
      }
    }
    const texts = entries.map(([name, value]) => [name, String(value)]);
    return texts.length > 0 ? Object.fromEntries(texts) : undefined;
  }

  oneOf<T extends string>(key: string, ...allowed: T[]): T {
    const value = this.text(key);
    const found = allowed.find((each) => each === value);
    return found ?? this.refuse(key, `must be ${allowed.join(" or ")}`);
  }

  integer(key: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.text(key);
    const range = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `${min} to ${max}`;
    const inRange = /^\d+$/.test(value) && Number(value) >= min && Number(value) <= max;
    return inRange ? Number(value) : this.refuse(key, `must be a whole number, ${range}`);
  }

  /** 0 is a port that is still to be chosen. */
  port(key: string): number {
    return this.integer(key, 0, 65535);
  }

  share(key: string): number {
    const value = this.text(key);
    const isShare = /^(0|1|[01]?\.\d+)$/.test(value) && Number(value) <= 1;
    return isShare ? Number(value) : this.refuse(key, "must be a number from 0 to 1, such as 0.01");
  }

  /** As k6 writes durations, between two of them. */
  duration(key: string, min: string, max: string): string {
    const value = this.text(key);
    const seconds = durationSeconds(value) ?? NaN;
    const inRange = seconds >= durationSeconds(min)! && seconds <= durationSeconds(max)!;
    const allowed = `must be a duration in ms, s, m or h from ${min} to ${max}, such as 30s or 1h30m`;
    return inRange ? value : this.refuse(key, allowed);
  }

  /** As InfluxDB writes durations of retention policies. */
  retention(key: string): string {
    const value = this.text(key);
    const inRange = /^[1-9]\d*[hdw]$/.test(value) && hours(value) <= hours(longestRetention);
    const allowed =
      "must be a whole number of hours, days or weeks, such as 12h, 30d or 4w, " +
      `up to ${longestRetention}`;
    return inRange ? value : this.refuse(key, allowed);
  }

  /** A host as URLs spell it, which takes `127.1` for what it is; empty if the key is. */
  host(key: string): string {
    const value = this.text(key);
    const isHost = /^[a-z\d]([a-z\d.-]*[a-z\d])?$/i.test(value) && URL.canParse(`http://${value}`);
    if (value && !isHost) {
      this.refuse(key, "must be empty, or a host name or an IPv4 address without port");
    }
    return value && new URL(`http://${value}`).hostname;
  }

  /** A full reference by tag or digest, with `imageRegistry` where it is set. */
  image(key: string): string {
    const value = this.text(key);
    const isImage = /^[a-z0-9][\w.\-/:]*(@sha256:[0-9a-f]{64})?$/.test(value);
    return isImage && /[:@][^/]+$/.test(value)
      ? fromRegistry(this.registry(), value)
      : this.refuse(key, "must be an image with a tag or a digest, such as influxdb:1.8.10");
  }

  private registry(): string {
    const key = "imageRegistry";
    const value = this.text(key);
    // Without a dot, a port or localhost, Docker takes the first part for a user of Docker Hub.
    const isRegistry = /^(localhost|(?=[^/]*[.:])[a-z0-9][a-z0-9.-]*)(:\d+)?(\/[\w.-]+)*$/.test(
      value,
    );
    const allowed =
      "must be empty or a registry without scheme, such as registry.example.com/mirror";
    return value === "" || isRegistry ? value : this.refuse(key, allowed);
  }

  /** Refuses keys that nobody has read. */
  refuseOthers() {
    const all = [...this.known].sort().join(", ");
    for (const key of Object.keys(this.values)) {
      if (!this.known.has(key)) this.refuse(key, `there is no such key; the keys are ${all}`);
    }
  }
}

/** In bytes. Twice as much is too long for a process's variable and for a line of k6's secrets. */
const longestMap = 64_000;

/** What is in JSON, if that is an object. */
function parsedMap(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** More than that, InfluxDB cannot count: it takes nanoseconds. */
const longestRetention = "106751d";

/** Of a retention policy's duration. */
export const hours = (retention: string) =>
  Number(retention.slice(0, -1)) * ({ h: 1, d: 24, w: 168 }[retention.slice(-1)] ?? NaN);

/**
 * The image as it is called in a registry that mirrors Docker Hub, where the official ones are in
 * `library`. An image that names its own registry, by Docker's rule, stays there.
 */
function fromRegistry(registry: string, image: string): string {
  if (!registry || /^(localhost|[^/]*[.:][^/]*)\//.test(image)) return image;
  return [registry, ...(image.includes("/") ? [] : ["library"]), image].join("/");
}
