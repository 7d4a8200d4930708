export const options = { iterations: 3, thresholds: { iterations: ["count==3"] } };

export default function () {
  null.name;
}
