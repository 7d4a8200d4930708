/**
 * The command that `Alerts` starts when contacts have changed: has Grafana send each a test message.
 * Reads a `ContactTest` from standard input, as JSON; ends with a line about the first that fails.
 */
import { text } from "node:stream/consumers";
import { testContacts } from "./contacts";

text(process.stdin)
  .then((input) => testContacts(JSON.parse(input)))
  .catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
