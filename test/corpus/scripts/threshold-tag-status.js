import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: { "http_reqs{status:404}": ["count<2"], "http_reqs{status:200}": ["count==2"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  http.get(`${__ENV.BASE_URL}/status/404`, { responseCallback: http.expectedStatuses(404) });
}
