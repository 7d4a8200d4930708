import http from "k6/http";

export const options = { iterations: 2 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`);
}

export function handleSummary({ metrics }) {
  return {
    stdout: "written\n",
    "result.txt": `requests: ${metrics.http_reqs.values.count}\n`,
    "회원 report.html": "<p>two requests</p>\n",
  };
}
