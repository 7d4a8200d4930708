/** Before the integration tests, which run side by side: prepares the parts that are missing, once. */
import { prepareParts } from "../../rehearsal/parts";

export default async function () {
  // A part that cannot be had is told by the tests that are skipped for it.
  await prepareParts((line) => console.warn(line)).catch(() => undefined);
}
