/**
 * The divergence finder for whole boots: runs a kernel in the interpreter alone and with the translator, side by side, and names the first instruction
 * that differs.
 *
 *   npx tsx test/cpu/lockstep/main.ts [KERNEL] [--ramdisk FILE] [--append ARGS] [--memory MIB] [--vcpus N] [--input COMMANDS]
 *     [--hot-count N] [--memory-interval N] [--limit N] [--inject NAME:REGISTER] [--verbose]
 *
 * Without KERNEL: Debian's, with our own initramfs, which runs COMMANDS (default: a few and poweroff). --hot-count: small values translate more.
 * --inject makes an instruction wrong in regions, to see this work.
 */
import { parseArgs } from "node:util";
import { findGuest } from "../../../src/cli/guest-files.ts";
import { READY_QUERY } from "../../../src/guests/session.ts";
import { injectFault } from "./inject.ts";
import { lockstep } from "./lockstep.ts";

const { values, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		ramdisk: { type: "string" },
		append: { type: "string", default: "" },
		memory: { type: "string", default: "256" },
		vcpus: { type: "string", default: "1" },
		input: { type: "string", default: "ls -l / | wc; cat /proc/self/maps; echo $((6 * 7)) | sha256sum; poweroff -f" },
		"hot-count": { type: "string" },
		"memory-interval": { type: "string", default: "200000000" },
		limit: { type: "string" },
		inject: { type: "string" },
		verbose: { type: "boolean", default: false },
	},
});

if (values.inject !== undefined) {
	const [name, register] = values.inject.split(":");
	injectFault(name!, Number(register ?? 0));
}
const files = await findGuest(positionals[0], values.ramdisk, {}, () => undefined);
const hotCount = values["hot-count"];
const words = ["console=hvc0", ...(files.ownRamdisk ? ["paravirt.input=pipe"] : []), values.append];
const started = performance.now();
const result = await lockstep({
	kernel: files.kernel,
	kernelName: files.kernelName,
	...(files.ramdisk === undefined ? {} : { ramdisk: files.ramdisk }),
	ramdiskName: files.ramdiskName,
	commandLine: words.join(" ").trim(),
	memory: Number(values.memory) * 2 ** 20,
	vcpus: Number(values.vcpus),
	input: `${values.input}\n`,
	...(files.ownRamdisk ? { inputAfter: READY_QUERY } : {}),
	reference: { tier: "interpreter" },
	tested: { tier: "both", ...(hotCount === undefined ? {} : { hotCount: Number(hotCount) }) },
	memoryInterval: Number(values["memory-interval"]),
	limit: values.limit === undefined ? Number.POSITIVE_INFINITY : Number(values.limit),
	...(values.verbose
		? {
				onOutput: (data: Uint8Array) => process.stdout.write(data),
				onProgress: (instructions: number) => process.stderr.write(`\r${Math.floor(instructions / 1e6)} million`),
			}
		: {}),
});
const seconds = ((performance.now() - started) / 1000).toFixed(1);
if ("agreement" in result) {
	const { instructions, translated, stretches } = result.agreement;
	const share = ((translated / instructions) * 100).toFixed(1);
	console.log(
		`The same registers at every exit, the same memory: ${instructions} instructions in ${stretches} stretches, ` +
			`${share}% of them in regions (${seconds} s)`,
	);
} else {
	const { different, culprit } = result.divergence;
	console.log(`They differ in ${different.what} after stretch ${different.stretch} (${seconds} s).`);
	console.log(culprit?.report ?? "Running that stretch again does not show it.");
	process.exitCode = 1;
}
process.exit();
