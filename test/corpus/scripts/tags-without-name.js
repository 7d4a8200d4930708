import { Counter } from "k6/metrics";

const seen = new Counter("seen");

export const options = { iterations: 2 };

export default function () {
  seen.add(1, { "": "nameless" });
}
