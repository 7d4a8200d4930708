import { check } from "k6";

const names = [
  ...["two words", "a,b", "a=b", `"quoted"`, "it's", "back\\slash", "회원", "🛒", " ", "a{b:c}"],
  ...["<b>bold</b>", "100 %", "$(id)", "| cell |", "tab\tbed"],
];

export const options = { iterations: 2, thresholds: { checks: ["rate==1"] } };

export default function () {
  check(null, Object.fromEntries(names.map((name) => [name, () => true])));
}
