export function handleSummary({ metrics }) {
  return { stdout: `${metrics.iterations.values.count} iterations\n` };
}

export function work() {}
