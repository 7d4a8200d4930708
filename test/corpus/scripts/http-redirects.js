import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: { http_reqs: ["count==8"], "http_reqs{status:302}": ["count==5"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/redirect/2`);
  // On its first iteration one is not followed.
  http.get(`${__ENV.BASE_URL}/redirect/${__ITER}`, { redirects: 0 });
}
