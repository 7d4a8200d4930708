// The end of the module that runner/entry.ts puts before a script: `script` is the script's exports,
// `tell`, `changed` and `files` come from there.
const given = script.options;
const isObject = (value) => typeof value === "object" && value !== null;
const { scenarios } = changed;
const others = ["vus", "duration", "iterations", "stages", "thresholds"];
const instead = scenarios
  ? { scenarios, ...Object.fromEntries(others.map((name) => [name, undefined])) }
  : {};

export const options =
  given !== undefined && !isObject(given)
    ? given
    : {
        ...given,
        ...instead,
        systemTags: changed.systemTags,
        summaryTrendStats: changed.summaryTrendStats,
        tags: { ...(given ? given.tags : {}), testid: changed.testid },
      };

// Where files of a script's summary go, each by its whole path, with no folder that is not there.
function place(paths) {
  const taken = {};
  return paths.map((path) => {
    if (path === "stdout" || path === "stderr") return path;
    let name = path.replace(/^[./\\]+(?=.)/, "").replace(/[/\\]/g, "_");
    while (taken[name]) name = `_${name}`;
    taken[name] = true;
    return `${files}/${name}`;
  });
}

function placed(result) {
  if (!isObject(result) || Array.isArray(result)) return result;
  const places = place(Object.keys(result));
  return Object.fromEntries(Object.values(result).map((content, n) => [places[n], content]));
}

// What setup() returned may be a secret, and a summary is kept: its texts and numbers are not.
function masked(value) {
  if (typeof value === "string") return "[not kept]";
  if (typeof value === "number") return NaN;
  if (Array.isArray(value)) return value.map(masked);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.keys(value).map((key) => [key, masked(value[key])]));
}

export function handleSummary(data) {
  const copy = JSON.parse(JSON.stringify(data));
  const { setup_data: returned, ...counted } = copy;
  tell(JSON.stringify(counted));
  if (script.handleSummary === undefined) return undefined;
  const failed = (error) => {
    tell(JSON.stringify({ slip: `handleSummary of the script failed: ${error}` }));
    throw error;
  };
  if (typeof script.handleSummary !== "function") failed("it is no function");
  if (returned !== undefined) copy.setup_data = masked(returned);
  try {
    const result = script.handleSummary(copy);
    return isObject(result) && typeof result.then === "function"
      ? result.then(placed, failed)
      : placed(result);
  } catch (error) {
    return failed(error);
  }
}
