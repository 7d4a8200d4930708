import http from "k6/http";
import { sleep } from "k6";

export const options = {
  ...{ vus: 2, duration: "1200ms" },
  thresholds: { vus: ["value<1"], vus_max: ["value>=2"] },
};

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  sleep(0.2);
}
