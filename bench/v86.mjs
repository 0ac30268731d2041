/**
 * The benchmark's guest in v86, on standard output; ends after the guest's last line. JavaScript, since Node.js runs it as it is: what a loader for
 * TypeScript takes would be counted as v86's.
 *
 *   node v86.mjs KERNEL RAMDISK MIB BIOS VGA-BIOS KERNEL-ARGUMENTS
 */
import { readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const [kernel, ramdisk, mebibytes, bios, vgaBios, kernelArguments] = process.argv.slice(2);
const build = join(dirname(createRequire(import.meta.url).resolve("v86/package.json")), "build");
const { V86 } = await import(pathToFileURL(join(build, "libv86.mjs")).href);

const image = (path) => {
	const bytes = readFileSync(path);
	return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) };
};
const machine = new V86({
	wasm_path: join(build, "v86.wasm"),
	bios: image(bios),
	vga_bios: image(vgaBios),
	bzimage: image(kernel),
	initrd: image(ramdisk),
	cmdline: `console=ttyS0 ${kernelArguments}`,
	memory_size: Number(mebibytes) * 2 ** 20,
	vga_memory_size: 2 * 2 ** 20,
	disable_speaker: true,
	autostart: true,
});
let line = "";
machine.add_listener("serial0-output-byte", (byte) => {
	line += String.fromCharCode(byte);
	if (byte !== 10) return;
	writeSync(1, line, null, "latin1");
	// v86 does not leave when its guest powers off.
	if (line.startsWith("ALL-DONE")) setTimeout(() => process.exit(0), 200);
	line = "";
});
