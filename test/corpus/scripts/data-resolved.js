import { check } from "k6";

const users = open(import.meta.resolve("../data/users.json"));

export const options = { iterations: 2 };

export default function () {
  check(users, { "are three": (text) => JSON.parse(text).length === 3 });
}
