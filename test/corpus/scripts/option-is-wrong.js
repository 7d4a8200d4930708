export const options = { iterations: "many" };

export default function () {}
