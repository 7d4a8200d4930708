import http from "k6/http";

// "We look at the status ourselves", but nobody does: k6 has no `http_req_failed` then.
http.setResponseCallback(null);

export const options = { iterations: 2 };

export default function () {
  http.get(`${__ENV.BASE_URL}/status/500`);
}
