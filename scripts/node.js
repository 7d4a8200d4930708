/**
 * Refuses a Node.js that `engines` of package.json does not allow, in one line. It is plain JavaScript of
 * any age, since it runs before anything is installed.
 */
const { engines } = require("../package.json");

const [major, minor] = process.versions.node.split(".").map(Number);
const allowed = engines.node.split(" || ").map((range) => {
  const [, sign, least, from] = /^(\^|>=)(\d+)\.(\d+)\.0$/.exec(range);
  return { text: `${least}.${from}`, only: sign === "^", least: Number(least), from: Number(from) };
});
const does = ({ only, least, from }) => (major === least ? minor >= from : major > least && !only);

if (!allowed.some(does)) {
  const texts = allowed.map(({ text }) => `${text} or later`);
  console.error(
    `Node.js ${process.version} does not do: install ${texts.join(", or ")}, https://nodejs.org`,
  );
  process.exit(1);
}
