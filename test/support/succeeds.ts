/** Apart from `stack.ts`, which the benchmark uses, too: vitest can be had in its tests only. */
import { expect } from "vitest";
import type { Ended } from "./stack";

/** A command must have succeeded; if not, what it printed is told. */
export const succeeds = ({ code, output }: Ended) => expect(code, output).toBe(0);
