import { Trend } from "k6/metrics";

const ratio = new Trend("ratio");

export const options = { iterations: 3, thresholds: { ratio: ["max<100"] } };

export default function () {
  ratio.add(1 / __ITER);
}
