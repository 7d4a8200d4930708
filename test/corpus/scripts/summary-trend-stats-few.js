import http from "k6/http";

export const options = { iterations: 3, summaryTrendStats: ["max"], summaryTimeUnit: "s" };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
