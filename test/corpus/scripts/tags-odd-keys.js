import { Counter } from "k6/metrics";

const seen = new Counter("seen");

const keys = ["two words", "a,b", "a=b", `"quoted"`, "it's", "회원", "🛒", "a.b-c", "UPPER", "007"];

export const options = { iterations: 2 };

export default function () {
  for (const key of keys) seen.add(1, { [key]: "x" });
}
