import http from "k6/http";
import { check } from "k6";

export const options = { iterations: 2, maxRedirects: 1 };

export default function () {
  const response = http.get(`${__ENV.BASE_URL}/redirect/3`);
  check(response, { "is still a redirect": (r) => r.status === 302 });
}
