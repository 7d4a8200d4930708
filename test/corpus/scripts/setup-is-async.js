import { check } from "k6";

export const options = { iterations: 2 };

export async function setup() {
  await Promise.resolve();
  return [1, 2, 3];
}

export default async function (data) {
  await Promise.resolve();
  check(data, { "are three": ({ length }) => length === 3 });
}
