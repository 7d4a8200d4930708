import http from "k6/http";
import { check } from "k6";

export const options = { iterations: 2, thresholds: { http_reqs: ["count==8"] } };

export default function () {
  const base = __ENV.BASE_URL;
  const named = http.batch({ first: `${base}/1`, second: ["POST", `${base}/2`, "body"] });
  check(named.second, { "was posted": (r) => r.json("method") === "POST" });
  http.batch([`${base}/3`, { method: "PUT", url: `${base}/4`, params: { tags: { own: "tag" } } }]);
}
