import http from "k6/http";
import { Trend } from "k6/metrics";

new Trend("never_used");

export const options = { iterations: 2, thresholds: { never_used: ["p(95)<100"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
