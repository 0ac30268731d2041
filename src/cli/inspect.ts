/** `paravirt inspect`: what a kernel image says of itself. */
import type { CommandDef } from "citty";
import { UsageError } from "./errors.ts";
import { readInput } from "./guest-files.ts";

export const inspectCommand: CommandDef = {
	meta: {
		name: "inspect",
		description: "Print what a kernel image says of itself: format, payload, Xen notes, patch sites",
	},
	args: {
		kernel: { type: "positional", required: false, description: "vmlinuz or ELF kernel", valueHint: "KERNEL" },
	},
	async run({ args }) {
		const { kernel } = args;
		if (typeof kernel !== "string") throw new UsageError("inspect needs a kernel", "Write paravirt inspect KERNEL.");
		process.stdout.write(`${(await readInput(kernel)).length}\n`);
	},
};
