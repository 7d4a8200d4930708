import { sleep } from "k6";

export const options = {
  scenarios: {
    rush: {
      executor: "constant-arrival-rate",
      ...{ rate: 20, timeUnit: "1s", duration: "1s", preAllocatedVUs: 1, maxVUs: 1 },
    },
  },
  thresholds: { dropped_iterations: ["count<1"] },
};

export default function () {
  sleep(0.2);
}
