import { Counter, Gauge, Trend } from "k6/metrics";

const counter = new Counter("balance");
const gauge = new Gauge("degrees");
const trend = new Trend("change");

export const options = {
  iterations: 3,
  thresholds: { change: ["min==-2.5"], degrees: ["value==-40"], balance: ["count>=0"] },
};

export default function () {
  counter.add(5);
  // k6 takes no negative count; it says so and goes on.
  counter.add(-1);
  gauge.add(-40);
  trend.add(-2.5);
}
