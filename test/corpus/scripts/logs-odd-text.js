import http from "k6/http";

export const options = { iterations: 2 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  console.error(`two\nlines, "quotes", \u001b[31mred\u001b[0m, 회원`, { an: "object" });
  console.warn("x".repeat(20000));
}
