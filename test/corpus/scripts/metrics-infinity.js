import http from "k6/http";
import { Trend } from "k6/metrics";

const ratio = new Trend("ratio");

export const options = { iterations: 3 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  ratio.add(1 / __ITER);
}
