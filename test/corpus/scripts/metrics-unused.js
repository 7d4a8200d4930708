import http from "k6/http";
import { Counter, Gauge, Rate, Trend } from "k6/metrics";

new Counter("unused_counter");
new Gauge("unused_gauge");
new Rate("unused_rate");
new Trend("unused_trend");

export const options = { iterations: 2 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
