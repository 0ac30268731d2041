/** What multiboot kernels and their modules are, by their contents, and which module Xen takes for what. */

import { compressionOf, decompress } from "../../formats/compression/payload.ts";
import { FileType, readFirstArchive } from "../../formats/cpio.ts";
import type { GrubFiles } from "./files.ts";
import type { LoadedFile } from "./loaded.ts";
import type { MicrocodeOption } from "./xen-options.ts";

/** The multiboot header's magic number (Multiboot Specification 3.1.1, Multiboot2 3.1.2), where it must be found. */
const MULTIBOOT = [
	{ magic: 0x1badb002, within: 8192, align: 4 },
	{ magic: 0xe85250d6, within: 32768, align: 8 },
] as const;

/** Texts that both print when they start. */
const XEN_TEXT = "Xen version %d.%d";
const TBOOT_TEXT = "*** TBOOT ***";

/** XSM_MAGIC: the first word of a FLASK policy. */
const POLICY_MAGIC = 0xf97cff8c;

/** An authenticated code module for chipsets (SINIT; Intel's "TXT Software Development Guide", A.1): module type and vendor. */
const ACM = { type: 2, vendor: 0x8086, vendorAt: 16 } as const;
/** Launch control policy data (the same, D.4). */
const LCP_TEXT = "Intel(R) TXT LCP_POLICY_DATA";

function view(bytes: Uint8Array): DataView {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function find(bytes: Uint8Array, text: string): number {
	const wanted = new TextEncoder().encode(text);
	const first = wanted[0] as number;
	for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
		if (wanted.every((byte, index) => bytes[at + index] === byte)) return at;
	}
	return -1;
}

function isMultiboot(image: Uint8Array): boolean {
	const data = view(image);
	return MULTIBOOT.some(({ magic, within, align }) => {
		for (let at = 0; at + 4 <= Math.min(within, image.length); at += align) {
			if (data.getUint32(at, true) === magic) return true;
		}
		return false;
	});
}

/** Whether an unpacked image is Xen: a multiboot kernel that can tell its version as Xen does. */
export function isXen(image: Uint8Array): boolean {
	return isMultiboot(image) && find(image, XEN_TEXT) >= 0;
}

export function isTboot(image: Uint8Array): boolean {
	return isMultiboot(image) && find(image, TBOOT_TEXT) >= 0;
}

/** Whether a module is tboot's own, which what it starts does not see. */
export function isForTboot(module: Uint8Array): boolean {
	if (find(module.subarray(0, LCP_TEXT.length), LCP_TEXT) === 0) return true;
	if (module.length < ACM.vendorAt + 4) return false;
	const data = view(module);
	return data.getUint16(0, true) === ACM.type && data.getUint32(ACM.vendorAt, true) === ACM.vendor;
}

/** A kernel of the entry, unpacked. @throws GrubError if it is missing, ImageError if it cannot be unpacked */
export async function readImage(file: LoadedFile, files: GrubFiles): Promise<Uint8Array> {
	const path = await files.need(file.path, file);
	const bytes = await files.host.read(path);
	return compressionOf(bytes) === undefined ? bytes : decompress(bytes, path);
}

/** A module as it stands; one that is missing, which GRUB complains of and leaves out, is empty. */
export async function readModule(file: LoadedFile, files: GrubFiles): Promise<Uint8Array> {
	const found = await files.find(file.path, file);
	return found?.kind === "file" ? files.host.read(found.path) : new Uint8Array(0);
}

/** What is done with a module of Xen's. */
export type ModuleUse = "kernel" | "ramdisk" | "microcode" | "policy" | "unused";

/**
 * What Xen does with each module: the first is dom0's kernel; microcode and policy are taken out, and of the others the first is the
 * ramdisk. With `ucode=scan` Xen also looks into archives; one of nothing but microcode is no ramdisk then.
 */
export async function modulesOfXen(
	modules: readonly LoadedFile[],
	{ module: number, scan }: MicrocodeOption,
	files: GrubFiles,
): Promise<readonly ModuleUse[]> {
	const uses: ModuleUse[] = modules.map((_, index) => (index === 0 ? "kernel" : "unused"));
	const microcode = number < 0 ? number + modules.length : number;
	if (microcode > 0 && microcode < modules.length) uses[microcode] = "microcode";
	for (const [index, module] of modules.entries()) {
		if (uses[index] !== "unused") continue;
		const bytes = await readModule(module, files);
		if (bytes.length >= 4 && view(bytes).getUint32(0, true) === POLICY_MAGIC) uses[index] = "policy";
		else if (scan && isMicrocodeArchive(bytes)) uses[index] = "microcode";
	}
	const ramdisk = uses.indexOf("unused");
	if (ramdisk >= 0) uses[ramdisk] = "ramdisk";
	return uses;
}

/** Linux's and Xen's place of it (Documentation/x86/microcode.rst). */
const MICROCODE = "kernel/x86/microcode/";
/** dracut's mark in such an archive. */
const DRACUT_MARK = "early_cpio";

/** Whether this is a cpio archive of microcode, with no file beside it and nothing after it. */
function isMicrocodeArchive(bytes: Uint8Array): boolean {
	try {
		const { entries, end } = readFirstArchive(bytes);
		const files = entries.filter(({ type, path }) => type !== FileType.directory && path !== DRACUT_MARK);
		return (
			files.length > 0 &&
			files.every(({ path }) => path.startsWith(MICROCODE)) &&
			bytes.subarray(end).every((byte) => byte === 0)
		);
	} catch (error) {
		if (error instanceof RangeError) return false;
		throw error;
	}
}
