import http from "k6/http";
import { check } from "k6";

export const options = {
  iterations: 2,
  systemTags: [
    ...["proto", "subproto", "status", "method", "url", "name", "group", "check", "error"],
    ...["error_code", "tls_version", "scenario", "service", "expected_response"],
    ...["iter", "vu", "ip", "ocsp_status"],
  ],
  thresholds: { "http_reqs{ip:127.0.0.1}": ["count==2"] },
};

export default function () {
  const response = http.get(`${__ENV.BASE_URL}/`);
  check(response, { "is there": (r) => r.status === 200 });
}
