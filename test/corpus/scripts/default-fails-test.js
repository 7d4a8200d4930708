import exec from "k6/execution";
import http from "k6/http";

export const options = { iterations: 3, thresholds: { http_reqs: ["count==3"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  if (__ITER === 1) exec.test.fail("the second answer was wrong");
}
