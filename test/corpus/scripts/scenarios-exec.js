import http from "k6/http";
import exec from "k6/execution";

export const options = {
  scenarios: {
    browse: {
      executor: "shared-iterations",
      ...{ exec: "browse", iterations: 4, vus: 2 },
      ...{ env: { SECTION: "books" }, tags: { kind: "reader" } },
    },
    buy: {
      executor: "per-vu-iterations",
      ...{ exec: "buy", iterations: 2, vus: 1, startTime: "100ms" },
      ...{ env: { SECTION: "cart" }, tags: { kind: "buyer" } },
    },
  },
  thresholds: {
    "http_reqs{scenario:browse}": ["count==4"],
    "http_reqs{kind:buyer}": ["count==2"],
    "iterations{scenario:buy}": ["count==2"],
  },
};

export function browse() {
  http.get(`${__ENV.BASE_URL}/${__ENV.SECTION}`);
}

export function buy() {
  http.post(`${__ENV.BASE_URL}/${__ENV.SECTION}`, exec.scenario.name);
}
