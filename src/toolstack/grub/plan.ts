/** From what an entry has loaded to what is booted here: files of the host, a command line, and what Xen's options say of the guest. */
import { compressionOf, decompress } from "../../xen/boot/payload.ts";
import { GrubError } from "./errors.ts";
import type { GrubFiles } from "./files.ts";
import { commandLineOf, type Loaded, type LoadedFile } from "./loaded.ts";
import { parseXenOptions, type XenOptions } from "./xen-options.ts";

export interface BootPlan {
	/** Paths of the host. */
	readonly kernel: string;
	/** In the order in which the kernel gets them, one behind the other. */
	readonly ramdisks: readonly string[];
	readonly commandLine: string;
	/** Where the entry loads Xen. */
	readonly xen: XenOptions | undefined;
	/** What is different from what the entry asks for, in sentences without their full stop. */
	readonly notices: readonly string[];
}

/**
 * The word that grub-mkconfig puts before a module's arguments, and the one that older documents recommend: boot loaders before GRUB 2
 * handed over the file's name there, which Xen takes away.
 */
const PLACEHOLDERS = ["placeholder", "dummy=dummy", "dummy"];

function withoutPlaceholder(words: readonly string[]): readonly string[] {
	return PLACEHOLDERS.includes(words[0] ?? "") ? words.slice(1) : words;
}

/** The multiboot header's magic number (Multiboot Specification 3.1.1, Multiboot2 3.1.2), where it must be found. */
const MULTIBOOT = [
	{ magic: 0x1badb002, within: 8192, align: 4 },
	{ magic: 0xe85250d6, within: 32768, align: 8 },
] as const;

const XEN_TEXT = new TextEncoder().encode("Xen version %d.%d");

function isMultiboot(image: Uint8Array): boolean {
	const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
	return MULTIBOOT.some(({ magic, within, align }) => {
		for (let at = 0; at + 4 <= Math.min(within, image.length); at += align) {
			if (view.getUint32(at, true) === magic) return true;
		}
		return false;
	});
}

/** Whether an image is Xen: a multiboot kernel that can tell its version as Xen does. */
export function isXen(bytes: Uint8Array, file: string): boolean {
	const image = compressionOf(bytes) === undefined ? bytes : decompress(bytes, file);
	if (!isMultiboot(image)) return false;
	const first = XEN_TEXT[0] as number;
	for (let at = image.indexOf(first); at >= 0; at = image.indexOf(first, at + 1)) {
		if (XEN_TEXT.every((byte, index) => image[at + index] === byte)) return true;
	}
	return false;
}

async function planLinux(loaded: Loaded & { readonly kind: "linux" }, files: GrubFiles): Promise<BootPlan> {
	const { kernel, ramdisks } = loaded;
	return {
		kernel: await files.need(kernel.path, kernel),
		ramdisks: await needAll(ramdisks, files),
		commandLine: commandLineOf(kernel.words),
		xen: undefined,
		notices: [],
	};
}

function needAll(loaded: readonly LoadedFile[], files: GrubFiles): Promise<string[]> {
	return Promise.all(loaded.map((file) => files.need(file.path, file)));
}

async function planXen(loaded: Loaded & { readonly kind: "multiboot" }, files: GrubFiles): Promise<BootPlan> {
	const { kernel: hypervisor, modules } = loaded;
	const image = await files.need(hypervisor.path, hypervisor);
	if (!isXen(await files.host.read(image), image)) {
		throw new GrubError(
			hypervisor,
			`"${hypervisor.path}" is a multiboot kernel that is not Xen, or no multiboot kernel`,
			"Choose an entry that loads Linux or Xen, with --entry.",
		);
	}
	const [kernel, ramdisk, ...others] = modules;
	if (kernel === undefined) {
		throw new GrubError(hypervisor, "Xen is loaded without a module, so there is no dom0 kernel", "Correct the entry.");
	}
	const xen = parseXenOptions(withoutPlaceholder(hypervisor.words), hypervisor);
	const notices = [
		`the entry loads Xen (${hypervisor.path}): its dom0 kernel is booted as an unprivileged guest of paravirt's own hypervisor`,
	];
	if (xen.notApplicable.length > 0) {
		notices.push(`options of Xen that do not apply here: ${xen.notApplicable.join(" ")}`);
	}
	for (const other of others) notices.push(`a further module of Xen's is not used: ${other.path}`);
	return {
		kernel: await files.need(kernel.path, kernel),
		ramdisks: ramdisk === undefined ? [] : await needAll([ramdisk], files),
		commandLine: commandLineOf(withoutPlaceholder(kernel.words)),
		xen,
		notices,
	};
}

/** @throws GrubError where a file is missing, or it is neither Linux nor Xen; ImageError where Xen's image cannot be unpacked */
export function planBoot(loaded: Loaded, files: GrubFiles): Promise<BootPlan> {
	return loaded.kind === "linux" ? planLinux(loaded, files) : planXen(loaded, files);
}
