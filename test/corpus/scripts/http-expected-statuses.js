import http from "k6/http";

http.setResponseCallback(http.expectedStatuses(200, { min: 500, max: 599 }));

export const options = { iterations: 2, thresholds: { http_req_failed: ["rate==0"] } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  http.get(`${__ENV.BASE_URL}/status/503`);
}
