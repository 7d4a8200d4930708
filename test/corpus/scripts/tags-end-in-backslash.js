import http from "k6/http";
import { Counter } from "k6/metrics";

const seen = new Counter("seen");

export const options = { iterations: 3 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  // The last of its tags, and one that others follow.
  seen.add(1, { zone: "C:\\" });
  seen.add(1, { drive: "D:\\" });
}
