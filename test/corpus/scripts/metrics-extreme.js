import { Trend } from "k6/metrics";

const trend = new Trend("extreme");

export const options = { iterations: 2 };

export default function () {
  for (const value of [5e-324, 1e300, -1e300, 0.1 + 0.2, 2 ** 53, -0, 1e21]) trend.add(value);
}
