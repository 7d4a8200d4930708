import { Counter } from "k6/metrics";

const seen = new Counter("seen");

export const options = { iterations: 3 };

export default function () {
  // In the order of names, `testid` is the next tag.
  seen.add(1, { team: "\\" });
}
