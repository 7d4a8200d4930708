import http from "k6/http";

// k6 counts such an iteration, logs the error and goes on.
export const options = { iterations: 3 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  throw new Error(`no user ${__ITER}`);
}
