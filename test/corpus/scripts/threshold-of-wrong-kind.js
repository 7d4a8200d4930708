import http from "k6/http";

export const options = { iterations: 2, thresholds: { http_reqs: ["p(95)<500"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
