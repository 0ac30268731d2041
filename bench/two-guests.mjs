/**
 * Two guests of paravirt on one switch, the first one's console on standard output; ends with the first. JavaScript, since Node.js runs it as it is:
 * what a loader for TypeScript takes would be counted as ours.
 *
 *   node two-guests.mjs KERNEL RAMDISK MIB FIRST-ARGUMENTS SECOND-ARGUMENTS
 */
import { writeSync } from "node:fs";
import { Host } from "../dist/index.js";

const [kernel, ramdisk, mebibytes, ...words] = process.argv.slice(2);
const memory = Number(mebibytes) * 2 ** 20;
const host = new Host({ memory: 2 * memory + 64 * 2 ** 20 });
const [first, second] = await Promise.all(
	words.map((commandLine, index) =>
		host.createDomain({ kernel, ramdisk, memory, commandLine, networks: ["bridge=lan"] }, (domain) => {
			if (index === 0) domain.console.onOutput((data) => writeSync(1, data));
		}),
	),
);
await first.ended;
await second.destroy();
await first.destroy();
host.stop();
