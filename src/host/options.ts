/** What a host and a domain of the library are to be. Programs without types mistype and forget too: each option is checked, by a table. */

import type { EngineOptions } from "../cpu/engine.ts";
import { CPU_VENDORS, type CpuVendor } from "../cpu/vendor.ts";
import type { NatOptions } from "../devices/net/nat/nat.ts";
import { PAGE_SIZE } from "../memory/map.ts";
import type { ChannelSpecification } from "../toolstack/config/channel.ts";
import type { DiskRequest } from "../toolstack/disks.ts";
import { ToolstackError } from "../toolstack/errors.ts";
import { nearestName } from "../toolstack/nearest.ts";
import type { NetworkRequest } from "../toolstack/network-interfaces.ts";
import { EndAction, type EndActions, type SchedulingParameters } from "../toolstack/options.ts";
import type { ShareRequest } from "../toolstack/shares.ts";
import { parseSize } from "../toolstack/sizes.ts";
import type { KernelCache } from "./kernel-cache.ts";

/** Bytes; or text as the command and xl take it: "512M", "2G", a number of MiB. */
export type Size = number | string;

export interface HostOptions {
	/**
	 * Machine memory for all domains together, in bytes or as text ("2G"); a guest needs its own and a little for what belongs to it
	 * (`machineOverhead`). Only what guests touch is taken from the host.
	 */
	readonly memory: Size;
	/** Where the guests' time comes from: "real" follows the host, "deterministic" counts executed instructions. */
	readonly clock?: "real" | "deterministic";
	/** How instructions are executed: the interpreter alone, or with the translator for hot code (the default). */
	readonly processor?: EngineOptions;
	/** Where unpacked kernels are kept from one start to the next; by default nowhere. */
	readonly kernelCache?: KernelCache;
	/** Where the end actions coredump-destroy and coredump-restart write, a file NAME.core for each domain. */
	readonly coreDirectory?: string;
	/**
	 * Milliseconds that a domain must have existed before it is started again by itself, so that one that fails at once does not keep
	 * the host busy; 1000 by default.
	 */
	readonly restartInterval?: number;
	/** The NAT network, to which interfaces without a `bridge` are connected (docs/networks.md). */
	readonly nat?: NatOptions;
	/** Sample where guests spend their instructions, for {@link Host.profile}: one sample in `interval` of them (262147 by default). */
	readonly profile?: { readonly interval?: number };
	/** What to trace: bits of TraceCategory. */
	readonly trace?: { readonly categories: number; readonly sink: (line: string) => void };
}

export interface DomainOptions extends Partial<EndActions>, Partial<SchedulingParameters> {
	/** Its own among the domains of the host; "guest", "guest-2", ... where not given. */
	readonly name?: string;
	/** A new one where not given. */
	readonly uuid?: string;
	/** A bzImage or an ELF file: its bytes, or where the platform finds it. */
	readonly kernel: Uint8Array | string;
	readonly ramdisk?: Uint8Array | string;
	/** What messages call the images, where they are given as bytes. */
	readonly kernelName?: string;
	readonly ramdiskName?: string;
	/** The kernel's command line. */
	readonly commandLine?: string;
	/** In bytes, or as text; rounded down to whole frames. */
	readonly memory: Size;
	/** What its balloon can make it grow to later (maxmem); `memory` where not given. */
	readonly maximumMemory?: Size;
	/** vCPUs that are online at first; 1 where not given. */
	readonly vcpus?: number;
	/** Whose processor it must find. The host has one maker's for all domains (`HostOptions.processor.vendor`): another is refused. */
	readonly cpuVendor?: CpuVendor;
	/** vCPUs that can be online later (maxvcpus); `vcpus` where not given. */
	readonly maximumVcpus?: number;
	/** It waits for {@link GuestDomain.unpause} before its first instruction. */
	readonly paused?: boolean;
	/** Disks that it has from the beginning: xl's specifications ("disk.qcow2,qcow2,xvda,rw"), or objects. */
	readonly disks?: readonly (DiskRequest | string)[];
	/** Network interfaces that it has from the beginning: xl's specifications ("bridge=lan,rate=10Mb/s", "" for a usual one), or objects. */
	readonly networks?: readonly (NetworkRequest | string)[];
	/** Consoles beside the first that it has from the beginning (hvc1, ...); none by default. */
	readonly furtherConsoles?: number;
	/** Channels that it has from the beginning: xl's specifications ("connection=socket,name=agent,path=/run/agent"), or objects; they come first. */
	readonly channels?: readonly (ChannelSpecification | string)[];
	/** Folders of the host that it shares from the beginning: xl's specifications ("tag=home,path=/home/me"), or objects. */
	readonly shares?: readonly (ShareRequest | string)[];
	/** Frames of its grant table and of its mappings of others' grants, and the highest event channel, at the most. */
	readonly maximumGrantFrames?: number;
	readonly maximumMaptrackFrames?: number;
	readonly maximumEventChannels?: number;
}

/** A kind of values: what is wrong with a value, or undefined. */
type Kind = (value: unknown) => string | undefined;

const kind =
	(what: string, test: (value: unknown) => boolean): Kind =>
	(value) =>
		test(value) ? undefined : what;

const text = kind("a text", (value) => typeof value === "string");
const flag = kind("true or false", (value) => typeof value === "boolean");
const count = kind("a whole number from 0", (value) => Number.isInteger(value) && (value as number) >= 0);
const number = kind("a number", (value) => typeof value === "number" && !Number.isNaN(value));
const list = kind("an array", Array.isArray);
const object = kind("an object", (value) => typeof value === "object" && value !== null);
const image = kind(
	"a file's name, or its bytes as a Uint8Array",
	(value) => (typeof value === "string" && value !== "") || value instanceof Uint8Array,
);
const size = kind('a number of bytes, or a text such as "512M"', (value) => bytesOf(value) !== undefined);
const oneOf = (...choices: readonly string[]): Kind =>
	kind(`one of ${choices.join(", ")}`, (value) => choices.includes(value as string));
const action = oneOf(...Object.values(EndAction));

const HOST_OPTIONS: Readonly<Record<keyof HostOptions, Kind>> = {
	memory: size,
	clock: oneOf("real", "deterministic"),
	processor: object,
	kernelCache: object,
	coreDirectory: text,
	restartInterval: number,
	nat: object,
	profile: object,
	trace: object,
};

const DOMAIN_OPTIONS: Readonly<Record<keyof DomainOptions, Kind>> = {
	name: text,
	uuid: text,
	kernel: image,
	ramdisk: image,
	kernelName: text,
	ramdiskName: text,
	commandLine: text,
	memory: size,
	maximumMemory: size,
	vcpus: count,
	maximumVcpus: count,
	cpuVendor: oneOf(...CPU_VENDORS),
	paused: flag,
	disks: list,
	networks: list,
	furtherConsoles: count,
	channels: list,
	shares: list,
	maximumGrantFrames: count,
	maximumMaptrackFrames: count,
	maximumEventChannels: count,
	weight: number,
	cap: number,
	onPoweroff: action,
	onReboot: action,
	onCrash: action,
	onWatchdog: action,
};

/** @returns its number of bytes; undefined for what is no size of memory */
function bytesOf(value: unknown): number | undefined {
	const bytes = typeof value === "string" ? parseSize(value) : value;
	return typeof bytes === "number" && bytes >= PAGE_SIZE && bytes <= Number.MAX_SAFE_INTEGER ? bytes : undefined;
}

/** Checks options against a table. @throws ToolstackError invalid-option */
function check(
	whose: string,
	options: unknown,
	kinds: Readonly<Record<string, Kind>>,
	needed: Readonly<Record<string, string>>,
): void {
	const refuse = (reason: string, remedy: string): never => {
		throw new ToolstackError("invalid-option", `${whose}: ${reason}`, remedy);
	};
	if (typeof options !== "object" || options === null) refuse("there are no options", "Give an object");
	for (const [name, value] of Object.entries(options as object)) {
		const wrong = kinds[name];
		if (wrong === undefined || !Object.hasOwn(kinds, name)) {
			const nearest = nearestName(name, Object.keys(kinds));
			const remedy =
				nearest === undefined ? `The options are ${Object.keys(kinds).join(", ")}` : `Did you mean ${nearest}?`;
			refuse(`there is no option "${name}"`, remedy);
		} else if (value !== undefined) {
			const wanted = wrong(value);
			if (wanted !== undefined) refuse(`${name} cannot be ${shown(value)}`, `Give ${wanted}`);
		}
	}
	for (const [name, remedy] of Object.entries(needed)) {
		if ((options as Readonly<Record<string, unknown>>)[name] === undefined) refuse(`${name} is missing`, remedy);
	}
}

function shown(value: unknown): string {
	const short = typeof value === "string" || typeof value === "number" || typeof value === "boolean" || value === null;
	return short ? (JSON.stringify(value) ?? String(value)) : `a value of type ${typeof value}`;
}

const MEMORY_REMEDY = 'Give memory: "512M", or a number of bytes';

/** @returns bytes of the machine's memory @throws ToolstackError invalid-option */
export function checkHostOptions(options: HostOptions): number {
	check("Host", options, HOST_OPTIONS, { memory: MEMORY_REMEDY });
	return bytesOf(options.memory) as number;
}

/** Options with their sizes in bytes. */
export interface CheckedDomainOptions extends DomainOptions {
	readonly memory: number;
	readonly maximumMemory: number;
}

/** @throws ToolstackError invalid-option */
export function checkDomainOptions(options: DomainOptions): CheckedDomainOptions {
	const kernel = "Give kernel: a file's name or its bytes; debianImages() has Debian's";
	check("createDomain", options, DOMAIN_OPTIONS, { kernel, memory: MEMORY_REMEDY });
	const memory = bytesOf(options.memory) as number;
	return { ...options, memory, maximumMemory: bytesOf(options.maximumMemory) ?? memory };
}
