export const options = {
  scenarios: { gone: { executor: "shared-iterations", exec: "nowhere" } },
};

export default function () {}
