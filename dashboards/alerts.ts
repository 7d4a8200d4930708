/**
 * Grafana's alert rules as data: the limits of the verdict, watched over the last minute while a run
 * is on. Each figure is of all requests of that minute, whatever their run.
 */
import { figures, type Figure, ruleOf, type Thresholds } from "../k6/profile";
import { arrivals, droppedIterations, durationPercentile, failedShare, recent } from "./queries";

/** One rule. It fires when `condition`, an expression over `$value`, is not 0. */
export interface AlertRule {
  name: string;
  /** InfluxQL that gives one value, or none when nothing was stored. */
  query: string;
  /** How far the query looks back, in seconds. */
  seconds: number;
  condition: string;
  /** How long the condition must last, as Grafana writes durations. */
  lasting: string;
  /** What the message says; `$values.value` is the figure. */
  summary: string;
  /** Whether it also fires when InfluxDB cannot be asked. One rule is enough to say so. */
  firesWithoutStore: boolean;
}

/** How often the rules are evaluated, in seconds: Grafana's shortest. */
export const alertInterval = 10;

/** All rules, from the same thresholds as k6's options and the panels' lines. */
export function alertRules(thresholds: Thresholds): AlertRule[] {
  const limited = (figure: Figure, query: string): AlertRule => {
    const { label, unit, limit } = ruleOf(figure, thresholds);
    const [scale, suffix] = unit === "share" ? [100, " %"] : [1, unit === "ms" ? " ms" : ""];
    return {
      name: `${label} over its limit`,
      query,
      seconds: 60,
      condition: `$value > ${limit}`,
      lasting: "0s",
      summary: `${label} of the last minute: {{ with $values.value }}{{ ${
        scale === 1 ? 'printf "%.2f" .Value' : "humanizePercentage .Value"
      } }}{{ end }}${scale === 1 ? suffix : ""}, over the limit of ${Number((limit * scale).toFixed(4))}${suffix}`,
      firesWithoutStore: false,
    };
  };
  return [
    limited("p95Ms", durationPercentile(95, recent)),
    limited("failedRate", failedShare(recent)),
    limited("droppedIterations", droppedIterations(recent)),
    {
      name: "No data during a run",
      // The runner tells every 5 s how many requests came to be stored.
      query: arrivals(recent),
      seconds: 15,
      condition: "$value == 0",
      lasting: "10s",
      summary: `a run is on, but no ${figures.requests.label} came to be stored for 15 seconds`,
      firesWithoutStore: true,
    },
  ];
}
