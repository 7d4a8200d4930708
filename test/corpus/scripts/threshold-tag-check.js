import { check } from "k6";

export const options = {
  iterations: 4,
  thresholds: {
    "checks{check:is odd}": ["rate>0.9"],
    "checks{check:is a number}": ["rate==1"],
  },
};

export default function () {
  check(__ITER, {
    "is odd": (n) => n % 2 === 1,
    "is a number": (n) => Number.isInteger(n),
  });
}
