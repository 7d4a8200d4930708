import http from "k6/http";

export const options = {
  iterations: 2,
  tags: { testid: "mine" },
  thresholds: { "http_req_duration{testid:mine}": ["max<0.001"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
