import { Counter } from "k6/metrics";

const seen = new Counter("seen");

export const options = {
  iterations: 2,
  thresholds: { "seen{team:a,stage:b}": ["count==2"], "seen{team:a, stage:c}": ["count<2"] },
};

export default function () {
  seen.add(1, { team: "a", stage: "b" });
  seen.add(1, { team: "a", stage: "c" });
}
