import http from "k6/http";
import { check } from "k6";

// Without any tag, checks of one call differ in nothing, not even in their time.
export const options = { iterations: 3, systemTags: [] };

export default function () {
  const response = http.get(`${__ENV.BASE_URL}/`);
  check(response, {
    "has a status": (r) => r.status === 200,
    "has a body": (r) => r.body.length > 0,
    "has headers": (r) => r.headers !== undefined,
  });
}
