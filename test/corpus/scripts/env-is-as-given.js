import { check } from "k6";

export const options = { iterations: 2 };

export default function () {
  check(__ENV, {
    "has the target": ({ BASE_URL }) => /^http:/.test(BASE_URL),
    "has no password": (env) => !JSON.stringify(env).includes("writer"),
    "has no options of k6": (env) => !("K6_ITERATIONS" in env) && !("K6_VUS" in env),
  });
}
