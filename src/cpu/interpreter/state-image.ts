/** FXSAVE and XSAVE images of the running context. */
import type { Memory } from "../memory.ts";

type Image = (memory: Memory, base: number, linear: number) => number;
const todo: Image = () => 6;
export const stateImage: Readonly<Record<"fxsave" | "fxrstor" | "xsave" | "xrstor", Image>> = {
	fxsave: todo,
	fxrstor: todo,
	xsave: todo,
	xrstor: todo,
};
