import http from "k6/http";
import { Counter } from "k6/metrics";

const seen = new Counter("seen");

export const options = { iterations: 2, tags: { nothing: "" } };

export default function () {
  http.get(`${__ENV.BASE_URL}/`, { tags: { user: "" } });
  seen.add(1, { user: "" });
  seen.add(1, { user: "Mina" });
}
