import { Rate } from "k6/metrics";

const sold = new Rate("sold");

export const options = { iterations: 4, thresholds: { sold: ["rate>0.5"] } };

export default function () {
  sold.add(__ITER % 2 === 0);
}
