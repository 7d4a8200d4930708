import http from "k6/http";

export const options = { iterations: 2, thresholds: { "http_reqs{error_code:1503}": ["count<2"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/status/503`);
}
