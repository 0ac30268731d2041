/**
 * Guests of Debian: its current kernel and busybox from the machine's package mirror, kept in the user's cache. A guest that was
 * fetched once is used until an update is asked for, and needs no network.
 *
 *   guests/SUITE/   guest.json, vmlinuz, modules/ (those of GUEST_MODULES and their dependencies, uncompressed)
 *   busybox/        busybox, busybox.json
 */
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { explainDirectory, makeDirectories, makeTemporary } from "../platform/node/directories.ts";
import { Apt, unpackPackage } from "./apt.ts";
import { CACHE_REMEDY, cacheDirectory, makeComplete, readJson, writeComplete } from "./cache.ts";
import { GuestError } from "./errors.ts";
import { buildInitramfs, GUEST_MODULES, type InitramfsContents } from "./initramfs.ts";
import { moduleDirectory } from "./module-files.ts";
import { type ModuleSource, resolveModules } from "./modules.ts";
import { BUSYBOX_PACKAGE, kernelPackages, readProgram, storeKernel } from "./packages.ts";
import type { Fraction, ProgressListener } from "./progress.ts";

export type { ProgressListener } from "./progress.ts";

export interface FetchOptions {
	/** A suite of the machine's Debian mirror, e.g. "trixie"; undefined: the machine's own suites. */
	readonly suite?: string | undefined;
	/** Fetch what is current even where a guest is in the cache. */
	readonly update?: boolean;
	readonly progress?: ProgressListener;
	/** In place of the user's cache directory. */
	readonly cache?: string;
}

/** A kernel and what belongs to it, in files. */
export interface DebianGuest {
	/** As `uname -r` tells it. */
	readonly release: string;
	/** Path of the vmlinuz. */
	readonly kernel: string;
	/** Packages and their versions. */
	readonly packages: Readonly<Record<string, string>>;
	readonly modules: ModuleSource;
}

/** guest.json */
interface GuestRecord {
	readonly release: string;
	readonly packages: Readonly<Record<string, string>>;
	/** The names of the modules that were asked for: a later version of this program may ask for more. */
	readonly wanted: readonly string[];
}

/** Signals that end the program, and their numbers. */
const INTERRUPTIONS = [
	["SIGINT", 2],
	["SIGTERM", 15],
	["SIGHUP", 1],
] as const;
/**
 * The current kernel of a Debian suite, from the cache or from the mirror.
 * @throws GuestError where it cannot be had.
 */
export async function debianGuest(options: FetchOptions = {}): Promise<DebianGuest> {
	const directory = join(options.cache ?? cacheDirectory(), "guests", options.suite ?? "default");
	let record = await readRecord(directory);
	if (record === undefined || options.update === true) {
		await fetchKernel(directory, options);
		record = await readRecord(directory);
		if (record === undefined) throw new GuestError(`${directory} cannot be read back`, "Check the cache directory.");
	}
	return {
		release: record.release,
		kernel: join(directory, "vmlinuz"),
		packages: record.packages,
		modules: await moduleDirectory(join(directory, "modules")),
	};
}

/**
 * The initramfs for a kernel.
 * @param kernel its release and modules; undefined: one without modules.
 */
export async function guestInitramfs(
	kernel: { readonly release: string; readonly modules: ModuleSource } | undefined,
	options: FetchOptions & { readonly files?: InitramfsContents["files"] } = {},
): Promise<Uint8Array> {
	const busybox = await readFile(await debianBusybox(options));
	const files = options.files ?? [];
	if (kernel === undefined) return buildInitramfs({ busybox, files });
	const modules = await resolveModules(kernel.modules, GUEST_MODULES);
	return buildInitramfs({ busybox, release: kernel.release, modules, builtin: kernel.modules.builtin, files });
}

/** Path of a static busybox, from the cache or from the mirror. */
export async function debianBusybox(options: FetchOptions = {}): Promise<string> {
	const directory = join(options.cache ?? cacheDirectory(), "busybox");
	const path = join(directory, "busybox");
	if ((await readJson(join(directory, "busybox.json"))) === undefined || !(await exists(path))) {
		await session(options, async (apt, temporary) => {
			await storeBusybox(apt, temporary, directory, options.progress);
		});
	}
	return path;
}

async function readRecord(directory: string): Promise<GuestRecord | undefined> {
	const record = (await readJson(join(directory, "guest.json"))) as GuestRecord | undefined;
	if (!(await exists(join(directory, "vmlinuz")))) return undefined;
	const complete = record !== undefined && GUEST_MODULES.every((name) => record.wanted.includes(name));
	return complete ? record : undefined;
}

async function exists(path: string): Promise<boolean> {
	return (await stat(path).catch(() => undefined)) !== undefined;
}

/** Gives `use` an apt with fresh package lists, in a directory that is removed at the end. */
async function session(options: FetchOptions, use: (apt: Apt, temporary: string) => Promise<void>): Promise<void> {
	const cache = options.cache ?? cacheDirectory();
	makeDirectories(cache, CACHE_REMEDY);
	const temporary = makeTemporary(cache, "fetch-", CACHE_REMEDY);
	// apt may still be ending while its files are removed.
	const remove = (): Promise<void> => rm(temporary, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
	const tools = new AbortController();
	const handlers = INTERRUPTIONS.map(([signal, number]) => {
		const interrupted = (): void => {
			tools.abort();
			void remove().finally(() => process.exit(128 + number));
		};
		process.once(signal, interrupted);
		return () => process.removeListener(signal, interrupted);
	});
	try {
		const apt = await Apt.prepare(join(temporary, "apt"), options.suite, tools.signal);
		await apt.update(step(options.progress, `Reading Debian's package lists${inSuite(options.suite)}`));
		await use(apt, temporary);
	} catch (error) {
		throw explainDirectory(cache, CACHE_REMEDY, error);
	} finally {
		for (const removeHandler of handlers) removeHandler();
		await remove();
	}
}

function step(progress: ProgressListener | undefined, title: string): Fraction {
	return progress?.(title) ?? (() => {});
}

function inSuite(suite: string | undefined): string {
	return suite === undefined ? "" : ` (${suite})`;
}

async function fetchKernel(directory: string, options: FetchOptions): Promise<void> {
	await session(options, async (apt, temporary) => {
		const { version, names } = await kernelPackages(apt);
		const files = await apt.download(names, step(options.progress, `Downloading Linux ${version}`));
		const unpacked = step(options.progress, "Unpacking the kernel");
		const tree = join(temporary, "tree");
		for (const [index, file] of files.entries()) {
			await unpackPackage(file, tree);
			unpacked((index + 1) / files.length);
		}
		await makeComplete(directory, async (target) => {
			const release = await storeKernel(tree, target, GUEST_MODULES);
			const packages = Object.fromEntries(names.map((name) => [name, version]));
			const record: GuestRecord = { release, packages, wanted: GUEST_MODULES };
			await writeFile(join(target, "guest.json"), `${JSON.stringify(record, undefined, "\t")}\n`);
		});
		const busybox = join(dirname(dirname(directory)), "busybox");
		if (options.update === true || (await readJson(join(busybox, "busybox.json"))) === undefined) {
			await storeBusybox(apt, temporary, busybox, options.progress);
		}
	});
}

async function storeBusybox(
	apt: Apt,
	temporary: string,
	directory: string,
	progress: ProgressListener | undefined,
): Promise<void> {
	const [fields] = await apt.show([BUSYBOX_PACKAGE]);
	const [file] = await apt.download([BUSYBOX_PACKAGE], step(progress, `Downloading ${BUSYBOX_PACKAGE}`));
	const tree = join(temporary, "busybox");
	await unpackPackage(file as string, tree);
	await writeComplete(join(directory, "busybox"), await readProgram(tree, "busybox"));
	const version = fields?.get("version") ?? "";
	await writeComplete(join(directory, "busybox.json"), `${JSON.stringify({ version })}\n`);
}
