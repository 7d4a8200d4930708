import http from "k6/http";

export const options = {
  iterations: 2,
  systemTags: ["status"],
  thresholds: { "http_req_duration{status:200}": ["max<0.001"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
