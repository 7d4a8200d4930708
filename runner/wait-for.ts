/** `WAIT_FOR_URL=… tsx runner/wait-for.ts`: ends once the URL answers with a good status. */
import { waitForAnswer } from "./gate";

const url = process.env.WAIT_FOR_URL ?? "";
waitForAnswer(url, 120, undefined, (response) => response.ok).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
