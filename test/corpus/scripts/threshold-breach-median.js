import { Trend } from "k6/metrics";

const length = new Trend("length");

export const options = { iterations: 5, thresholds: { length: ["med<2", "max<100"] } };

export default function () {
  length.add(__ITER);
}
