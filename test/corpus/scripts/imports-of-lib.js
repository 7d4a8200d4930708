import { check } from "k6";
import { getItem } from "../lib/api.js";

export const options = { iterations: 2, thresholds: { "http_reqs{name:item}": ["count==2"] } };

export default function () {
  check(getItem(__ITER), { "is there": (r) => r.status === 200 });
}
