import { check } from "k6";

export const options = { iterations: 4 };

export default function () {
  check(__ITER, { "is even": (n) => n % 2 === 0 });
}
