import { check } from "k6";
import { own, read } from "../lib/deep/reader.js";

// For a file that a function of another opens, k6 looks beside this one.
const users = read("../data/users.json");

export const options = { iterations: 2 };

export default function () {
  check(own, { "has words": (words) => words.includes("two") });
  check(users, { "has users": (text) => JSON.parse(text).length === 3 });
}
