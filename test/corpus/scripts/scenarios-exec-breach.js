import http from "k6/http";

export const options = {
  scenarios: {
    quick: { executor: "shared-iterations", exec: "quick", iterations: 2 },
    slow: { executor: "shared-iterations", exec: "slow", iterations: 2, tags: { kind: "slow" } },
  },
  thresholds: {
    "http_req_duration{scenario:quick}": ["max<250"],
    "http_req_duration{kind:slow}": ["max<250"],
  },
};

export function quick() {
  http.get(`${__ENV.BASE_URL}/`);
}

export function slow() {
  http.get(`${__ENV.BASE_URL}/slow`);
}
