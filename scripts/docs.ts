/** `npm run docs`: writes into the pages of docs/ what they take from the code. */
import * as fs from "node:fs";
import * as path from "node:path";
import { root } from "../root";
import { pages } from "./reference";

for (const [file, text] of Object.entries(pages(root))) {
  fs.writeFileSync(path.join(root, file), text);
}
