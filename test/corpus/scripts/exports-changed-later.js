export let options = { iterations: 1 };

options.iterations = 3;
options = { ...options, thresholds: { iterations: ["count<3"] } };

export default () => undefined;
