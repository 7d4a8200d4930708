import exec from "k6/execution";
import http from "k6/http";

export const options = { iterations: 30 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  if (__ITER === 2) exec.test.abort();
}
