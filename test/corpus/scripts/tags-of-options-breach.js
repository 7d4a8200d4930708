import http from "k6/http";

export const options = {
  iterations: 2,
  tags: { team: "회원" },
  thresholds: { "http_req_duration{team:회원}": ["p(95)<0.001"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
