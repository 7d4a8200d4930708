/**
 * What a pod of the cluster asks before load is made: whether InfluxDB and the target answer it.
 * Logs one line of JSON for each address of `GATE`: `{ url, status, error, location }`.
 */
import { sleep } from "k6";
import http from "k6/http";

export const options = { vus: 1, iterations: 1, discardResponseBodies: true };

const patience = 30;

export default function () {
  for (const { url, mustBeOk } of JSON.parse(__ENV.GATE)) {
    const end = Date.now() + patience * 1000;
    let answer;
    do {
      if (answer) sleep(0.5);
      answer = http.get(url, { redirects: 0, timeout: "5s" });
    } while (!isGood(answer, mustBeOk) && Date.now() < end);
    const { status, error, headers } = answer;
    const good = isGood(answer, mustBeOk);
    console.log(JSON.stringify({ url, good, status, error, location: headers.Location }));
  }
}

const isGood = ({ status }, mustBeOk) => (mustBeOk ? status >= 200 && status < 300 : status > 0);
