import http from "k6/http";
import { check, group } from "k6";

export const options = {
  iterations: 2,
  thresholds: {
    "group_duration{group:::shop}": ["max<10000"],
    "http_reqs{group:::shop::cart}": ["count==2"],
    "checks{group:::shop::cart}": ["rate==1"],
  },
};

export default function () {
  group("shop", () => {
    http.get(`${__ENV.BASE_URL}/`);
    group("cart", () => {
      const response = http.get(`${__ENV.BASE_URL}/cart`);
      check(response, { "is there": (r) => r.status === 200 });
    });
  });
}
