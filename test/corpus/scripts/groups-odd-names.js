import http from "k6/http";
import { group } from "k6";

const names = ["1. 영화 목록", "a b, c=d", `"quoted"`, "it's", "back\\slash", "🛒", "  "];

export const options = {
  iterations: 1,
  thresholds: { "group_duration{group:::1. 영화 목록}": ["max<10000"] },
};

export default function () {
  for (const name of names) group(name, () => http.get(`${__ENV.BASE_URL}/`));
}
