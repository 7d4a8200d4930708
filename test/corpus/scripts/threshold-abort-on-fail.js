import http from "k6/http";
import { sleep } from "k6";

// k6 looks at its thresholds every two seconds, or at the end.
export const options = {
  ...{ vus: 1, duration: "20s" },
  thresholds: { http_req_duration: [{ threshold: "max<0.001", abortOnFail: true }] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  sleep(0.1);
}
