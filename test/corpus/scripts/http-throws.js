import http from "k6/http";

// What fails throws, so each iteration ends before its second request.
export const options = { iterations: 2, throw: true, thresholds: { http_reqs: ["count<2"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/slow`, { timeout: "50ms" });
  http.get(`${__ENV.BASE_URL}/`);
}
