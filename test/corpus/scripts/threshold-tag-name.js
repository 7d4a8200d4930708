import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: { "http_reqs{name:GET /items/:id}": ["count<2"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/items/${__ITER}`, { tags: { name: "GET /items/:id" } });
}
