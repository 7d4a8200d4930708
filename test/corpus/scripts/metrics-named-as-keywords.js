import { Counter } from "k6/metrics";

const names = ["select", "FROM", "time", "value", "group", "__proto", "x".repeat(128)];
const counters = names.map((name) => new Counter(name));

export const options = { iterations: 2 };

export default function () {
  for (const counter of counters) counter.add(1);
}
