import http from "k6/http";
import { sleep } from "k6";

export const options = {
  scenarios: { constant: { executor: "constant-vus", vus: 2, duration: "1s" } },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  sleep(0.1);
}
