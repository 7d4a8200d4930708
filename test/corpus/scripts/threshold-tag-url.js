import http from "k6/http";

const url = `${__ENV.BASE_URL}/items/7`;

export const options = { iterations: 2, thresholds: { [`http_reqs{url:${url}}`]: ["count<2"] } };

export default function () {
  http.get(url);
}
