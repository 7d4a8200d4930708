import { check } from "k6";
import http from "k6/http";

export const options = { iterations: 4 };

export default function () {
  const response = http.get(`${__ENV.BASE_URL}/`);
  check(response, {
    "status is 200": (r) => r.status === 200,
    // Always fails. Its name is a template literal that an editor has wrapped.
    [`body has an order id
      and a total`]: () => false,
  });
}
