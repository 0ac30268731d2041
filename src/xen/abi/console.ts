/** public/io/console.h: the shared page of the PV console, and CONSOLEIO_* of public/xen.h. */
import { bytes, struct, u32 } from "./struct.ts";

export const CONSOLE_IN_SIZE = 1024;
export const CONSOLE_OUT_SIZE = 2048;

/** struct xencons_interface: free-running indices; `in` is towards the guest. */
export const xenconsInterface = struct({
	in: bytes(CONSOLE_IN_SIZE),
	out: bytes(CONSOLE_OUT_SIZE),
	inCons: u32,
	inProd: u32,
	outCons: u32,
	outProd: u32,
});

/** CONSOLEIO_* */
export const ConsoleIo = { write: 0, read: 1 } as const;
export const consoleIoNames: Readonly<Record<number, string>> = { 0: "write", 1: "read" };
