import http from "k6/http";

export const options = { iterations: 2 };

// Lines that k6 itself would write for points that were lost, and for iterations that were cut off.
export default function () {
  http.get(`${__ENV.BASE_URL}/`);
  console.error("Couldn't write stats");
  console.error(`level=error msg="Couldn't write stats" error="no space left on device"`);
  console.error("Couldn't create batch from samples");
  console.log("running (00m01.0s), 0/1 VUs, 2 complete and 7 interrupted iterations");
  console.log("thresholds on metrics 'http_reqs' have been crossed");
}
