throw new Error("no configuration");

export default function () {}
