import exec from "k6/execution";

export const options = { iterations: 2 };

export function setup() {
  exec.test.abort("the target is in maintenance");
}

export default function () {}
