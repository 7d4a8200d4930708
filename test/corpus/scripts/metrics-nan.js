import { Trend } from "k6/metrics";

const trend = new Trend("measured");

export const options = { iterations: 3 };

export default function () {
  trend.add(1);
  // k6 warns of what is no number, and makes no sample of it.
  trend.add(NaN);
  trend.add("text");
}
