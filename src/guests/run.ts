/** A command in a guest of its own, for programs: what `paravirt run -- COMMAND` does. */
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import type { KernelCache } from "../host/kernel-cache.ts";
import { machineOverhead } from "../host/machine.ts";
import { Host } from "../host/node.ts";
import type { DomainOptions, Size } from "../host/options.ts";
import { parseP9 } from "../toolstack/config/p9.ts";
import { ToolstackError } from "../toolstack/errors.ts";
import type { DomainEnd } from "../toolstack/guest-domain.ts";
import { parseSize } from "../toolstack/sizes.ts";
import { cacheDirectory } from "./cache.ts";
import { debianGuest, type FetchOptions, guestInitramfs } from "./debian.ts";
import { COMMAND_WORD, SHARE_WORD } from "./init.ts";
import { commandFile } from "./initramfs.ts";
import { kernelCache } from "./kernel-cache.ts";
import { attachPipes } from "./piped-input.ts";
import { STATUS_NODE } from "./session.ts";

const USUAL_MEMORY = "512M";

/** Debian's kernel and our ramdisk for it: what `paravirt boot` boots. */
export interface DebianImages {
	/** As `uname -r` tells it. */
	readonly release: string;
	/** The kernel's file. */
	readonly kernel: string;
	/** Busybox, the kernel's modules that guests need, and an /init that gives a shell on the console (docs/guests.md). */
	readonly ramdisk: Uint8Array;
	/** Packages that the kernel comes from, and their versions. */
	readonly packages: Readonly<Record<string, string>>;
}

/**
 * From the cache, or through the machine's apt.
 * @throws GuestError, DirectoryError
 */
export async function debianImages(options: FetchOptions = {}): Promise<DebianImages> {
	const guest = await debianGuest(options);
	const { release, kernel, packages } = guest;
	return { release, kernel, packages, ramdisk: await guestInitramfs(guest, options) };
}

/** Unpacked kernels in the user's cache: the next start is half a second faster. For {@link HostOptions.kernelCache}. */
export function userKernelCache(): KernelCache {
	return kernelCache(join(cacheDirectory(), "kernels"));
}

/** What is used of an AbortSignal, whose type is a part of the library dom. */
export interface Interruption {
	readonly aborted: boolean;
	addEventListener(type: "abort", listener: () => void): void;
	removeEventListener(type: "abort", listener: () => void): void;
}

export interface RunOptions extends FetchOptions, Pick<DomainOptions, "vcpus" | "disks" | "networks" | "shares"> {
	/** 512 MiB where not given. */
	readonly memory?: Size;
	/** What the command reads: its standard input ends after that. */
	readonly input?: string | Uint8Array;
	/** Called with each piece that the command prints. */
	readonly onOutput?: (data: Uint8Array) => void;
	/** Words for the kernel's command line. */
	readonly append?: string;
	/** Ends the guest: an AbortSignal. */
	readonly signal?: Interruption;
}

export interface RunResult {
	/** The command's exit status; undefined if the guest has ended before it. */
	readonly status: number | undefined;
	/** All that it printed, on standard output and standard error: a console has no two. */
	readonly output: string;
	readonly end: DomainEnd;
}

/**
 * Runs a command in a new guest, which has Debian's kernel and busybox, and ends with it.
 * @param command the program and its arguments
 * @throws GuestError, DirectoryError, and what `Host.createDomain` throws
 */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
	const {
		input = "",
		onOutput,
		append,
		signal,
		suite,
		update,
		progress,
		cache,
		memory = USUAL_MEMORY,
		...rest
	} = options;
	if (!Array.isArray(command) || command.length === 0 || command.some((word) => typeof word !== "string")) {
		throw new ToolstackError("invalid-option", "run: there is no command", 'Give an array of words: ["uname", "-r"]');
	}
	const fetch = {
		...(suite === undefined ? {} : { suite }),
		...(update === undefined ? {} : { update }),
		...(progress === undefined ? {} : { progress }),
		...(cache === undefined ? {} : { cache }),
	};
	const guest = await debianGuest(fetch);
	const ramdisk = await guestInitramfs(guest, { ...fetch, files: [commandFile(command)] });
	const bytes = typeof memory === "string" ? (parseSize(memory) ?? 0) : memory;
	const tags = (rest.shares ?? []).map((share) => (typeof share === "string" ? parseP9(share).tag : share.tag));
	const commandLine = [
		"console=hvc0",
		"paravirt.input=pipe",
		...tags.map((tag) => `${SHARE_WORD}=${tag}`),
		COMMAND_WORD,
	]
		.concat("quiet", "loglevel=0", append ?? [])
		.join(" ");
	const host = new Host({ memory: bytes + machineOverhead(bytes), kernelCache: userKernelCache() });
	const output: Uint8Array[] = [];
	const sink = new Writable({
		write(data: Uint8Array, _, done) {
			output.push(data);
			onOutput?.(data);
			done();
		},
	});
	let detach: () => void = () => {};
	try {
		const domain = await host.createDomain(
			{ ...rest, kernel: guest.kernel, ramdisk, commandLine, memory },
			(created) => {
				detach = attachPipes(created.console, Readable.from([input].filter((each) => each.length > 0)), sink, {
					handshake: true,
				});
			},
		);
		const abort = (): void => void domain.destroy();
		signal?.addEventListener("abort", abort);
		if (signal?.aborted === true) abort();
		const end = await Promise.race([domain.ended, host.failed]);
		signal?.removeEventListener("abort", abort);
		const status = domain.isDestroyed ? undefined : domain.store.read(STATUS_NODE);
		await domain.destroy();
		return {
			status: status !== undefined && /^\d{1,3}$/.test(status) ? Number(status) : undefined,
			output: Buffer.concat(output).toString("utf8"),
			end,
		};
	} finally {
		detach();
		host.stop();
	}
}
