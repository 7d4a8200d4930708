export const options = { iterations: 2 };

// k6 hands on what JSON can hold, which a function is not.
export function setup() {
  return { again: () => 1 };
}

export default function () {}
