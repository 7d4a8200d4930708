import { Counter } from "k6/metrics";

const seen = new Counter("seen");

export const options = {
  iterations: 2,
  thresholds: {
    "seen{team:회원 팀}": ["count==2"],
    "seen{path:a=b}": ["count==2"],
    "seen{drive:C:\\x}": ["count==2"],
    'seen{quoted:"yes"}': ["count<2"],
  },
};

export default function () {
  seen.add(1, { team: "회원 팀", path: "a=b", drive: "C:\\x", quoted: "yes" });
}
