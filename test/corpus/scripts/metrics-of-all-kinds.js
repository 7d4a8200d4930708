import { Counter, Gauge, Rate, Trend } from "k6/metrics";

const counter = new Counter("own_counter");
const gauge = new Gauge("own_gauge");
const rate = new Rate("own_rate");
const trend = new Trend("own_trend");
const time = new Trend("own_time", true);
const bytes = new Gauge("own_gauge_of_time", true);

export const options = { vus: 2, iterations: 6 };

export default function () {
  counter.add(3);
  gauge.add(7);
  rate.add(true);
  rate.add(0);
  trend.add(0.125);
  time.add(1234.5);
  bytes.add(99);
}
