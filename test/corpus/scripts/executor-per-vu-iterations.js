import http from "k6/http";

export const options = {
  scenarios: { each: { executor: "per-vu-iterations", vus: 3, iterations: 2 } },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
