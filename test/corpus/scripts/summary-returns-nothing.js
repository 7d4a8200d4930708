import http from "k6/http";

export const options = { iterations: 2, thresholds: { http_req_duration: ["max<0.001"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}

export function handleSummary() {}
