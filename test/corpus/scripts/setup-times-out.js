import { sleep } from "k6";

export const options = { iterations: 2, setupTimeout: "200ms" };

export function setup() {
  sleep(20);
}

export default function () {}
