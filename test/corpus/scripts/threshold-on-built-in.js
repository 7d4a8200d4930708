import http from "k6/http";

export const options = {
  iterations: 2,
  thresholds: {
    ...{ iterations: ["count==2"], iteration_duration: ["max<10000"], data_sent: ["count>0"] },
    ...{
      data_received: ["count>0"],
      http_req_failed: ["rate==0"],
      http_req_waiting: ["max<10000"],
    },
  },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}
