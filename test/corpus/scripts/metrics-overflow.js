import { Trend } from "k6/metrics";

const trend = new Trend("overflow");

// Each value is a number, their sum is none.
export const options = { iterations: 2 };

export default function () {
  trend.add(Number.MAX_VALUE);
}
