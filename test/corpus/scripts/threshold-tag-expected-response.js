import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: {
    "http_req_duration{expected_response:true}": ["max<0.001"],
    "http_reqs{expected_response:false}": ["count==2"],
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  http.get(`${__ENV.BASE_URL}/status/503`);
}
