/** Which kernel and ramdisk `paravirt boot` takes: files that the user names, or Debian's kernel and an initramfs of our own. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ElfFile, isElf } from "../formats/elf.ts";
import { type DebianGuest, debianGuest, type FetchOptions, guestInitramfs } from "../guests/debian.ts";
import { GuestError } from "../guests/errors.ts";
import type { InitramfsContents } from "../guests/initramfs.ts";
import { moduleDirectory } from "../guests/module-files.ts";
import { parseXenNotes } from "../xen/boot/notes.ts";
import { fileError } from "./errors.ts";

export interface GuestFiles {
	readonly kernel: Uint8Array;
	/** For messages. */
	readonly kernelName: string;
	/** Undefined: the kernel gets none. */
	readonly ramdisk: Uint8Array | undefined;
	readonly ramdiskName: string;
	/** The ramdisk is ours, so /init understands what we write on the kernel's command line. */
	readonly ownRamdisk: boolean;
}

/** How guests are fetched, and files for the initramfs beside its own. */
type InitramfsOptions = FetchOptions & Pick<InitramfsContents, "files">;

/** Where kernels of the machine itself keep their modules. */
const MODULE_ROOTS = ["/lib/modules", "/usr/lib/modules"];
const OWN_RAMDISK = "paravirt's initramfs";

export async function readInput(file: string): Promise<Uint8Array> {
	try {
		return await readFile(file);
	} catch (error) {
		throw fileError(file, error);
	}
}

/**
 * @param releaseOf the release of a kernel image, where it tells one
 * @throws FileError, GuestError
 */
export async function findGuest(
	kernelFile: string | undefined,
	ramdiskFile: string | undefined,
	options: InitramfsOptions,
	releaseOf: (kernel: Uint8Array, name: string) => string | undefined,
): Promise<GuestFiles> {
	const ramdisk = ramdiskFile === undefined ? undefined : await readInput(ramdiskFile);
	const debian = kernelFile === undefined ? await debianGuest(options) : undefined;
	const kernelName = debian?.kernel ?? (kernelFile as string);
	const kernel = await readInput(kernelName);
	if (ramdisk !== undefined) {
		return { kernel, kernelName, ramdisk, ramdiskName: ramdiskFile as string, ownRamdisk: false };
	}
	if (isBootLoader(kernel, kernelName)) {
		return { kernel, kernelName, ramdisk: undefined, ramdiskName: "", ownRamdisk: false };
	}
	const modulesOf = debian ?? (await machineModules(releaseOf(kernel, kernelName)));
	const own = await ownInitramfs(modulesOf, options);
	return { kernel, kernelName, ramdisk: own, ramdiskName: OWN_RAMDISK, ownRamdisk: true };
}

/** GRUB, by its Xen notes: it loads a kernel and a ramdisk itself. */
function isBootLoader(kernel: Uint8Array, name: string): boolean {
	return isElf(kernel) && parseXenNotes(new ElfFile(kernel, name))?.guestOs === "GRUB";
}

async function machineModules(
	release: string | undefined,
): Promise<Pick<DebianGuest, "release" | "modules"> | undefined> {
	if (release === undefined || release === "" || release.includes("/")) return undefined;
	for (const root of MODULE_ROOTS) {
		const directory = join(root, release);
		const names = await readdir(directory).catch((): string[] => []);
		if (names.length > 0) return { release, modules: await moduleDirectory(directory) };
	}
	return undefined;
}

async function ownInitramfs(
	modulesOf: Pick<DebianGuest, "release" | "modules"> | undefined,
	options: InitramfsOptions,
): Promise<Uint8Array> {
	try {
		return await guestInitramfs(modulesOf, options);
	} catch (error) {
		if (!(error instanceof GuestError)) throw error;
		throw new GuestError(`no busybox for an initramfs: ${error.message}`, "Give a ramdisk yourself: --ramdisk FILE.", {
			cause: error,
		});
	}
}
