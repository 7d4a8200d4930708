import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: { "http_reqs{error_code:1050}": ["count<2"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/slow`, { timeout: "50ms" });
}
