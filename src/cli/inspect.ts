/** `paravirt inspect`: what a kernel image says of itself. */
import type { CommandDef } from "citty";
import { formatReport, inspectKernel } from "../xen/boot/index.ts";
import { UsageError } from "./errors.ts";
import { readInput } from "./guest-files.ts";

export const inspectCommand: CommandDef = {
	args: {
		kernel: { type: "positional", required: false, description: "vmlinuz or ELF kernel", valueHint: "KERNEL" },
	},
	async run({ args }) {
		const { kernel } = args;
		if (typeof kernel !== "string") throw new UsageError("inspect needs a kernel", "Write paravirt inspect KERNEL.");
		const report = inspectKernel(await readInput(kernel), { name: kernel });
		process.stdout.write(`${formatReport(report).trimEnd()}\n`);
	},
};
