import http from "k6/http";
import { group } from "k6";

export const options = {
  iterations: 2,
  thresholds: {
    "http_req_duration{group:::shop}": ["max<10000"],
    "http_req_duration{group:::shop::cart}": ["max<0.001"],
  },
};

export default function () {
  group("shop", () => {
    http.get(`${__ENV.BASE_URL}/`);
    group("cart", () => http.get(`${__ENV.BASE_URL}/cart`));
  });
}
