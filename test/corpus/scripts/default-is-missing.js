export const options = { iterations: 3 };

export function main() {}
