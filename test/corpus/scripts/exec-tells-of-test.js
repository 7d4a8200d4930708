import exec from "k6/execution";
import { check } from "k6";

export const options = {
  iterations: 2,
  tags: { team: "blue" },
  thresholds: { checks: ["rate==1"], "iterations{team:blue}": ["count==2"] },
};

// What a script may ask of itself is what plain k6 tells.
export default function () {
  check(exec, {
    "has its options": ({ test }) => test.options.tags.team === "blue",
    "has its thresholds": ({ test }) => test.options.thresholds.checks.length === 1,
    "has no others": ({ test }) => Object.keys(test.options.thresholds).length === 2,
    "is one of two": ({ scenario }) => scenario.iterationInTest < 2,
    "has its tag": ({ vu }) => vu.metrics.tags.team === "blue",
  });
}
