/**
 * InfluxDB 1.8: its settings, and a client for its HTTP API. The client is self-contained, since
 * Pulumi serializes `query` together with the resources that use it.
 */

/** The environment of every InfluxDB of this project, in a container or as a process. */
export const influxDbSettings = {
  INFLUXDB_HTTP_AUTH_ENABLED: "true",
  INFLUXDB_HTTP_LOG_ENABLED: "false",
  // k6 sends what a second brought as one body; at a high rate that passes 25 MB.
  INFLUXDB_HTTP_MAX_BODY_SIZE: "0",
  INFLUXDB_REPORTING_DISABLED: "true",
  INFLUXDB_MONITOR_STORE_ENABLED: "false",
  // Series stay in memory, about 2.5 kB each. A script with an id in its URLs makes nine for every
  // id: it is refused before it takes all the memory that the container has.
  INFLUXDB_DATA_MAX_VALUES_PER_TAG: "10000",
  INFLUXDB_DATA_MAX_SERIES_PER_DATABASE: "300000",
  // One percentile over 10 million points takes more than the 2 GB that the container has: InfluxDB
  // copies and sorts them all. A query over more points than this is refused, which InfluxDB looks
  // at once a second.
  INFLUXDB_COORDINATOR_MAX_SELECT_POINT: "5000000",
  // A year at one second would be 31 million, each taken up before the first is known.
  INFLUXDB_COORDINATOR_MAX_SELECT_BUCKETS: "100000",
  INFLUXDB_COORDINATOR_MAX_CONCURRENT_QUERIES: "50",
  INFLUXDB_COORDINATOR_QUERY_TIMEOUT: "60s",
  INFLUXDB_COORDINATOR_LOG_QUERIES_AFTER: "10s",
};

/** Where InfluxDB answers, and as whom to ask; without a user the request is anonymous. */
export interface Connection {
  url: string;
  username?: string;
  password?: string;
  /** How long an answer may take, by default 60 seconds: a query over many points takes its time. */
  seconds?: number;
}

/** One series of an answer: rows of values in the order of `columns`. */
export interface Series {
  name: string;
  tags?: Record<string, string>;
  columns: string[];
  values: (string | number | null)[][];
}

/** An answer that says no. `status` is HTTP's. No class: Pulumi would store it without its message. */
export type InfluxDbError = Error & { status: number };

/** InfluxQL takes no line break within quotes, but its escape. It refuses `\r` and `\0` anyhow. */
const escaped = (text: string, quote: string) =>
  text.replaceAll("\\", "\\\\").replaceAll(quote, `\\${quote}`).replaceAll("\n", "\\n");

/** Whether InfluxQL has a way to write a name. */
export const canBeNamed = (name: string) => !/[\0\r]/.test(name);

/** Quotes a name for InfluxQL. */
export const identifier = (name: string) => `"${escaped(name, '"')}"`;

/** Quotes a text for InfluxQL. */
export const literal = (text: string) => `'${escaped(text, "'")}'`;

async function send(
  { url, username, password, seconds = 60 }: Connection,
  path: string,
  body: string | URLSearchParams | Uint8Array<ArrayBuffer>,
) {
  const headers: Record<string, string> = {};
  if (username) {
    headers.authorization =
      "Basic " + Buffer.from(`${username}:${password ?? ""}`).toString("base64");
  }
  let response;
  try {
    response = await fetch(`${url}${path}`, {
      method: "POST",
      headers,
      body,
      signal: AbortSignal.timeout(seconds * 1000),
    });
  } catch (error) {
    const { message, cause } = error as { message: string; cause?: { message?: string } };
    throw new Error(`InfluxDB does not answer at ${url}: ${cause?.message || message}`);
  }
  const text = await response.text();
  const answer = text.startsWith("{") ? JSON.parse(text) : {};
  const refusal: string | undefined =
    answer.error ??
    answer.results?.find((result: { error?: string }) => result.error)?.error ??
    (response.ok ? undefined : text || response.statusText);
  if (refusal) throw Object.assign(new Error(refusal.trim()), { status: response.status });
  return answer;
}

/**
 * Runs InfluxQL statements (separated by `;`) and gives each one's series. The text travels in the
 * request's body, so a password in it is in no access log. Times come back in milliseconds since 1970.
 *
 * @throws InfluxDbError when InfluxDB refuses, Error when it does not answer
 */
export async function query(
  connection: Connection,
  statements: string,
  database = "",
): Promise<Series[][]> {
  const answer = await send(
    connection,
    `/query?epoch=ms&db=${encodeURIComponent(database)}`,
    new URLSearchParams({ q: statements }),
  );
  return answer.results.map((result: { series?: Series[] }) => result.series ?? []);
}

/** Writes points in line protocol, into the database's default retention policy or a named one. */
export async function write(
  connection: Connection,
  database: string,
  lines: string | Uint8Array<ArrayBuffer>,
  retentionPolicy = "",
) {
  const into = `db=${encodeURIComponent(database)}`;
  const policy = retentionPolicy && `&rp=${encodeURIComponent(retentionPolicy)}`;
  await send(connection, `/write?${into}${policy}`, lines);
}
