import { Counter, Gauge, Rate, Trend } from "k6/metrics";

const counter = new Counter("own_counter");
const gauge = new Gauge("own_gauge");
const rate = new Rate("own_rate");
const trend = new Trend("own_trend");

export const options = {
  iterations: 4,
  thresholds: {
    own_counter: [
      "count==10",
      "count>=10",
      "count<=10",
      "count!=9",
      "count>9",
      "count<11",
      "rate>0",
    ],
    own_gauge: ["value==3", "value===3"],
    own_rate: ["rate==0.5", "rate>0.4"],
    own_trend: [
      ...["avg==1.5", "min==0", "med==1.5", "max==3", "med < 1.51"],
      ...["p(0)==0", "p(50)==1.5", "p(99.99)<=3", "p(100)==3"],
    ],
  },
};

export default function () {
  counter.add(__ITER + 1);
  gauge.add(__ITER);
  rate.add(__ITER % 2);
  trend.add(__ITER);
}
