#!/usr/bin/env node
/** The command `paravirt-xl`, which can stand in for `xl`: `paravirt xl` by another name. */
import { runProgram } from "./program.ts";
import { runXl } from "./xl/xl.ts";

await runProgram(async (args) => {
	process.exitCode = await runXl(args);
});
