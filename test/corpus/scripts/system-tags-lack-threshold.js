import http from "k6/http";

// By the script's own wish there is no tag `status`, so k6 finds no sample of that threshold.
export const options = {
  iterations: 2,
  systemTags: ["method"],
  thresholds: { "http_req_duration{status:200}": ["max<0.001"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
