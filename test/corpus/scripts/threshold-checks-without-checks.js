import http from "k6/http";

export const options = { iterations: 2, thresholds: { checks: ["rate>0.9"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
