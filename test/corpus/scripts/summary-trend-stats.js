import http from "k6/http";

export const options = {
  iterations: 3,
  summaryTrendStats: ["count", "p(99.99)", "med"],
  summaryTimeUnit: "us",
  thresholds: { http_req_duration: ["p(95)<10000", "avg<10000"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
