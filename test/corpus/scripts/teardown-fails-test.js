import exec from "k6/execution";
import http from "k6/http";

export const options = { iterations: 3 };

export default function () {
  http.post(`${__ENV.BASE_URL}/tickets/7/reserve`);
}

export function teardown() {
  const sold = 101;
  if (sold > 100) exec.test.fail(`sold ${sold} of 100 tickets`);
}
