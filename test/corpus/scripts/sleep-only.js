import { sleep } from "k6";

export const options = { vus: 2, iterations: 4 };

export default function () {
  sleep(0.05);
}
