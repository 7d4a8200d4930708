import { Counter } from "k6/metrics";

const seen = new Counter("seen");

export const options = { iterations: 1 };

export default function () {
  for (let user = 0; user < 150; user++) seen.add(1, { user: `${user}` });
}
