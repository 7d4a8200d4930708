import http from "k6/http";

export const options = { iterations: 2 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}

// A common slip: the text itself, not { stdout: text }.
export function handleSummary(data) {
  return JSON.stringify(data.metrics.http_reqs);
}
