import exec from "k6/execution";
import http from "k6/http";

export const options = { iterations: 3, thresholds: { http_reqs: ["count==4"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  exec.test.fail("nothing was right");
}
