import http from "k6/http";
import { check } from "k6";

export const options = { iterations: 2, discardResponseBodies: true };

export default function () {
  const response = http.get(`${__ENV.BASE_URL}/`);
  check(response, { "has no body": (r) => r.body === null });
  const text = http.get(`${__ENV.BASE_URL}/`, { responseType: "text" });
  check(text, { "has one if asked for": (r) => r.body.length > 0 });
}
