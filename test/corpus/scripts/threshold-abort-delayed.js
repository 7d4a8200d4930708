import http from "k6/http";

// The test is over before the abort may come.
export const options = {
  iterations: 3,
  thresholds: {
    http_req_duration: [{ threshold: "max<0.001", abortOnFail: true, delayAbortEval: "10s" }],
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
