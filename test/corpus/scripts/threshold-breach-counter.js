import { Counter } from "k6/metrics";

const errors = new Counter("errors");

export const options = { iterations: 3, thresholds: { errors: ["count<3"] } };

export default function () {
  errors.add(1);
}
