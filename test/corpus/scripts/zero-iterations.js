// Nobody works here: an iteration an hour, and it is over after a moment.
export const options = {
  scenarios: {
    nobody: {
      executor: "ramping-arrival-rate",
      ...{ startRate: 0, timeUnit: "1h", preAllocatedVUs: 1 },
      stages: [{ duration: "300ms", target: 1 }],
    },
  },
};

export default function () {}
