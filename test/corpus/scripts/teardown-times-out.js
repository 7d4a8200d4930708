import http from "k6/http";
import { sleep } from "k6";

export const options = { iterations: 2, teardownTimeout: "200ms" };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}

export function teardown() {
  sleep(20);
}
