/** `paravirt boot --grub`: what an entry of a boot loader's configuration says, as files and options of a boot. */
import { resolve } from "node:path";
import { LOG_LEVELS, type LogKind } from "../machine/log.ts";
import { nodeFiles } from "../platform/node/host-files.ts";
import {
	bounded,
	type Configuration,
	dom0MemorySize,
	readConfiguration,
	type XenOptions,
} from "../toolstack/grub/index.ts";
import { fileError, UsageError } from "./errors.ts";
import { type GuestFiles, readInput } from "./guest-files.ts";

/** The options, as they stand. */
export interface GrubOptions {
	readonly grub: string | undefined;
	readonly entry: string | undefined;
	readonly root: string | undefined;
	readonly list: boolean;
}

/** A guest that a configuration describes. */
export interface GrubGuest {
	readonly files: GuestFiles;
	/** What the entry puts on the kernel's command line. */
	readonly commandLine: string;
	readonly xen: XenOptions | undefined;
}

/** @throws UsageError where options are given that need --grub */
export function checkGrubOptions(options: GrubOptions): void {
	if (options.grub !== undefined) return;
	const alone = ([["entry"], ["root"], ["list"]] as const).find(([name]) => options[name]);
	if (alone !== undefined) throw new UsageError(`--${alone[0]} needs --grub`, "Name a grub.cfg with --grub FILE.");
}

/** @throws GrubError, FileError */
export async function openConfiguration(options: GrubOptions & { readonly grub: string }): Promise<Configuration> {
	const file = resolve(options.grub);
	const root = options.root === undefined ? undefined : resolve(options.root);
	if (root !== undefined && (await nodeFiles.kindOf(`${root}/.`)) !== "directory") {
		throw new UsageError(`--root: ${options.root} is no directory`, "Name the folder in which the paths begin.");
	}
	return readConfiguration(file, root, nodeFiles).catch((error: unknown) => {
		throw error instanceof Error && "syscall" in error ? fileError(options.grub, error) : error;
	});
}

/**
 * The guest of an entry.
 * @param notice is told, in sentences, which entry it is and what will be different from what it asks for
 * @throws GrubError, FileError, ImageError
 */
export async function grubGuest(
	configuration: Configuration,
	entry: string | undefined,
	notice: (sentence: string) => void,
): Promise<GrubGuest> {
	const plan = await configuration.plan(entry);
	notice(`entry ${plan.number}: ${plan.title}`);
	for (const text of plan.notices) notice(text);
	const [kernel, ...ramdisks] = await Promise.all([plan.kernel, ...plan.ramdisks].map(readInput));
	return {
		files: {
			kernel: kernel as Uint8Array,
			kernelName: plan.kernel,
			ramdisk: ramdisks.length === 0 ? undefined : joinRamdisks(ramdisks),
			ramdiskName: plan.ramdisks.join(" + "),
			ownRamdisk: false,
		},
		commandLine: plan.commandLine,
		xen: plan.xen,
	};
}

/** One behind the other, each beginning at a multiple of four bytes, as boot loaders place them. */
export function joinRamdisks(ramdisks: readonly Uint8Array[]): Uint8Array {
	const [only] = ramdisks;
	if (ramdisks.length === 1 && only !== undefined) return only;
	const padded = (data: Uint8Array): number => Math.ceil(data.length / 4) * 4;
	const joined = new Uint8Array(ramdisks.reduce((sum, data) => sum + padded(data), 0));
	let at = 0;
	for (const data of ramdisks) {
		joined.set(data, at);
		at += padded(data);
	}
	return joined;
}

/**
 * Memory in bytes: as --memory says, else as dom0_mem does.
 * @param all the most that a guest can have
 */
export function memoryOf(given: number | undefined, usual: number, xen: XenOptions | undefined, all: number): number {
	return given ?? dom0MemorySize(xen?.memory ?? {}, usual, all);
}

/** vCPUs: as --vcpus says, else as dom0_max_vcpus does. */
export function vcpusOf(given: number | undefined, usual: number, xen: XenOptions | undefined): number {
	return given ?? bounded(usual, xen?.vcpus ?? {});
}

/** Whether the hypervisor's options loglvl, guest_loglvl and console have a line of its log shown. */
export function isShown(kind: LogKind, xen: XenOptions | undefined): boolean {
	const threshold = kind.guest ? xen?.log?.guest : xen?.log?.host;
	if (threshold === undefined || threshold === "none") return false;
	return LOG_LEVELS.indexOf(kind.level) <= LOG_LEVELS.indexOf(threshold);
}
