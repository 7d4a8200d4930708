import http from "k6/http";

export const options = { iterations: 2, thresholds: { "http_reqs{proto:HTTP/1.1}": ["count<2"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
