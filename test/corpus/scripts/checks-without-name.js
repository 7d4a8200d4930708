import { check } from "k6";

export const options = { iterations: 2 };

export default function () {
  check(null, { "": () => true });
}
