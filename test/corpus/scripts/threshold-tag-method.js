import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: { "http_reqs{method:POST}": ["count<2"], "http_reqs{method:GET}": ["count==2"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  http.post(`${__ENV.BASE_URL}/`);
}
