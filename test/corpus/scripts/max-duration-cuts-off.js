import http from "k6/http";
import { sleep } from "k6";

export const options = {
  scenarios: {
    long: {
      executor: "per-vu-iterations",
      ...{ vus: 1, iterations: 3, maxDuration: "1s", gracefulStop: "0s" },
    },
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  sleep(__ITER === 0 ? 0 : 20);
}
