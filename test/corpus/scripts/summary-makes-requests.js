import http from "k6/http";

export const options = { iterations: 2 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}

// Tells a chat room, as it were. k6 measures no request that comes after the test.
export function handleSummary({ metrics }) {
  const response = http.post(`${__ENV.BASE_URL}/chat`, `${metrics.iterations.values.count}`);
  return { stdout: `told: ${response.status}\n` };
}
