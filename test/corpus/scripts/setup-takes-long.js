import http from "k6/http";
import { sleep } from "k6";

export const options = { iterations: 2, setupTimeout: "30s" };

export function setup() {
  sleep(1.5);
}

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
