import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: {
    http_req_duration: [{ threshold: "max<10000", abortOnFail: true, delayAbortEval: "1s" }],
    iterations: [{ threshold: "count==2" }],
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
