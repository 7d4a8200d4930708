import { Counter } from "k6/metrics";

const orders = new Counter("orders");

export const options = { iterations: 3, thresholds: { orders: ["rate>1000000"] } };

export default function () {
  orders.add(1);
}
