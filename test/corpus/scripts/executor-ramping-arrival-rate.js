import http from "k6/http";

export const options = {
  scenarios: {
    ramp: {
      executor: "ramping-arrival-rate",
      ...{ startRate: 5, timeUnit: "1s", preAllocatedVUs: 5, maxVUs: 10 },
      stages: [
        { duration: "300ms", target: 40 },
        { duration: "300ms", target: 0 },
      ],
    },
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
