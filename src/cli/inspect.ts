/** `paravirt inspect`: what a kernel image says of itself. */
import { writeFile } from "node:fs/promises";
import type { CommandDef } from "citty";
import { formatReport, inspectKernel, openKernel, vmlinuxWithSymbols } from "../xen/boot/index.ts";
import { fileError, UsageError } from "./errors.ts";
import { readInput } from "./guest-files.ts";

export const inspectCommand: CommandDef = {
	args: {
		kernel: { type: "positional", required: false, description: "vmlinuz or ELF kernel", valueHint: "KERNEL" },
		vmlinux: {
			type: "string",
			description: "Write the unpacked kernel with its symbols, for gdb and a core, in place of a report",
			valueHint: "FILE",
		},
	},
	async run({ args }) {
		const { kernel, vmlinux } = args;
		if (typeof kernel !== "string") throw new UsageError("inspect needs a kernel", "Write paravirt inspect KERNEL.");
		const image = await readInput(kernel);
		if (typeof vmlinux === "string") {
			await writeFile(vmlinux, vmlinuxWithSymbols(openKernel(image, kernel).elf)).catch((error: unknown) => {
				throw fileError(vmlinux, error);
			});
			return;
		}
		const report = inspectKernel(image, { name: kernel });
		process.stdout.write(`${formatReport(report).trimEnd()}\n`);
	},
};
