import http from "k6/http";
import { fail } from "k6";

export const options = { iterations: 3 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  if (__ITER === 1) fail("an odd round");
}
