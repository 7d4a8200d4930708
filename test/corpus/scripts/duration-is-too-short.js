export const options = { vus: 1, duration: "500ms" };

export default function () {}
