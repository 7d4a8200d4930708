import http from "k6/http";
import { Counter } from "k6/metrics";

const seen = new Counter("seen");

const values = {
  space: "two words",
  comma: "a,b",
  equals: "a=b",
  all: "a, b = c",
  backslash: "C:\\temp\\x",
  quotes: `"double" and 'single'`,
  korean: "회원",
  emoji: "🛒",
  tab: "a\tb",
  dollar: "$HOME `id` ${x}",
  regex: "^a.*|b$",
  blank: " ",
  long: "x".repeat(2000),
  number: 42,
};

export const options = { iterations: 2 };

export default function () {
  http.get(`${__ENV.BASE_URL}/`, { tags: values });
  for (const [name, value] of Object.entries(values)) seen.add(1, { [name]: value });
}
