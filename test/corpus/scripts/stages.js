import http from "k6/http";
import { sleep } from "k6";

export const options = { stages: [{ duration: "500ms", target: 2 }] };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  sleep(0.05);
}
