export { handleSummary, work as default } from "../lib/summary.js";

export const options = { iterations: 3, thresholds: { iterations: ["count==3"] } };
