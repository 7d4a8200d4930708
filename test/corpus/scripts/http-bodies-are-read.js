import http from "k6/http";
import { check } from "k6";

export const options = { iterations: 2 };

export default function () {
  const response = http.get(`${__ENV.BASE_URL}/`);
  check(response, { "has a body": (r) => r.json("method") === "GET" });
}
