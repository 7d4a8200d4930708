import http from "k6/http";

export const options = {
  iterations: 2,
  tags: { team: "회원", build: "2026.11.3" },
  thresholds: {
    "http_reqs{team:회원}": ["count==2"],
    "http_reqs{build:2026.11.3}": ["count==2"],
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
