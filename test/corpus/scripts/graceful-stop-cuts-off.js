import http from "k6/http";
import { sleep } from "k6";

// The second virtual user is still asleep when its time is over.
export const options = {
  scenarios: {
    late: { executor: "constant-vus", vus: 2, duration: "1s", gracefulStop: "0s" },
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  sleep(__VU === 2 ? 20 : 0.1);
}
