import { Gauge } from "k6/metrics";

const queue = new Gauge("queue");

export const options = { iterations: 3, thresholds: { queue: ["value<2"] } };

export default function () {
  queue.add(__ITER);
}
