import http from "k6/http";

// What `__ENV` has decides: three iterations, unless somebody says otherwise.
export const options = {
  iterations: Number(__ENV.ROUNDS || 3),
  vus: 1,
  tags: { target: __ENV.BASE_URL },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
