import { check } from "k6";
import http from "k6/http";
import type { Options } from "k6/options";

interface Answer {
  method: string;
}

export const options: Options = { iterations: 2, thresholds: { checks: ["rate==1"] } };

export default function (): void {
  const answer = http.put(`${__ENV.BASE_URL}/`).json() as unknown as Answer;
  check(answer, { "was put": ({ method }) => method === "PUT" });
}
