import { Counter } from "k6/metrics";

const many = new Counter("many");

export const options = { iterations: 2, thresholds: { many: ["count==4000"] } };

export default function () {
  for (let n = 0; n < 2000; n++) many.add(1);
}
