import http from "k6/http";
import { sleep } from "k6";

export const options = {
  scenarios: {
    ramp: {
      executor: "ramping-vus",
      startVUs: 1,
      stages: [
        { duration: "300ms", target: 3 },
        { duration: "300ms", target: 0 },
      ],
    },
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  sleep(0.05);
}
