import { Trend } from "k6/metrics";

const length = new Trend("length");

export const options = { iterations: 5, thresholds: { length: ["p(99.9)<3.5"] } };

export default function () {
  length.add(__ITER);
}
