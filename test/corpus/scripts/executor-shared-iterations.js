import http from "k6/http";

export const options = {
  scenarios: { shared: { executor: "shared-iterations", vus: 2, iterations: 7 } },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
