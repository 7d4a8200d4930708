import { Counter } from "k6/metrics";

// What the stack itself writes beside k6's metrics.
const gate = new Counter("gate");
const heartbeat = new Counter("heartbeat");
const runs = new Counter("k6_runs");

export const options = { iterations: 3 };

export default function () {
  gate.add(1);
  heartbeat.add(1);
  runs.add(1);
}
