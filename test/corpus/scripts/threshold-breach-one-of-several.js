import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: { http_req_duration: ["min>=0", "max<0.001", "avg<10000"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
