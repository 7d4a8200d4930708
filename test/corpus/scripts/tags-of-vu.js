import http from "k6/http";
import exec from "k6/execution";

export const options = {
  iterations: 3,
  thresholds: { "http_reqs{round:2}": ["count==1"] },
};

export default function () {
  exec.vu.metrics.tags.round = `${exec.scenario.iterationInTest}`;
  http.get(`${__ENV.BASE_URL}/`);
}
