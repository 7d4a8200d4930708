import http from "k6/http";

export const options = {
  scenarios: {
    own: { executor: "shared-iterations", iterations: 2, tags: { testid: "mine" } },
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
