import http from "k6/http";
import { sleep } from "k6";

// One virtual user that sleeps for longer than the rate allows.
export const options = {
  scenarios: {
    rush: {
      executor: "constant-arrival-rate",
      ...{ rate: 20, timeUnit: "1s", duration: "1s", preAllocatedVUs: 1, maxVUs: 1 },
    },
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  sleep(0.2);
}
