import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: { "http_reqs{group:::setup}": ["count==3"], http_reqs: ["count==6"] },
};

export function setup() {
  for (let n = 0; n < 3; n++) http.get(`${__ENV.BASE_URL}/slow`);
}

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}

export function teardown() {
  http.del(`${__ENV.BASE_URL}/`);
}
