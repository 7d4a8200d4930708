/**
 * What a pod of the cluster asks before load is made: whether InfluxDB and the target answer it.
 * Logs one line of JSON for each address of `GATE`: `{ url, status, error, location }`.
 */
import { sleep } from "k6";
import http from "k6/http";
import grpc from "k6/net/grpc";

export const options = { vus: 1, iterations: 1, discardResponseBodies: true };

const patience = 30;

export default function () {
  for (const { url, mustBeOk } of JSON.parse(__ENV.GATE)) {
    const end = Date.now() + patience * 1000;
    let answer;
    do {
      if (answer) sleep(0.5);
      answer = url.startsWith("grpc:")
        ? connected(url)
        : http.get(url, { redirects: 0, timeout: "5s" });
    } while (!isGood(answer, mustBeOk) && Date.now() < end);
    const { status, error, headers } = answer;
    const good = isGood(answer, mustBeOk);
    console.log(JSON.stringify({ url, good, status, error, location: headers.Location }));
  }
}

// Whether gRPC's port takes a connection; its status is as if it had answered over HTTP.
function connected(url) {
  const address = url.replace(/^grpc:\/\//, "").replace(/\/.*$/, "");
  for (const plaintext of [true, false]) {
    const client = new grpc.Client();
    try {
      client.connect(address, { plaintext, timeout: "2s" });
      client.close();
      return { status: 200, error: "", headers: {} };
    } catch (error) {
      if (!plaintext) return { status: 0, error: `${error}`, headers: {} };
    }
  }
}

const isGood = ({ status }, mustBeOk) => (mustBeOk ? status >= 200 && status < 300 : status > 0);
