import http from "k6/http";

export const options = { vus: 1, iterations: 3, minIterationDuration: "150ms" };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
