import http from "k6/http";

export const options = {
  scenarios: {
    steady: {
      executor: "constant-arrival-rate",
      ...{ rate: 20, timeUnit: "1s", duration: "1s", preAllocatedVUs: 5 },
    },
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
