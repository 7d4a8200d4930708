import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: { "http_req_duration{status:404}": ["max<100"], http_req_duration: ["max<10000"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
