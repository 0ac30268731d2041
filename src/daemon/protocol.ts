/**
 * What commands and the host daemon say to each other over its socket: lines of JSON. The daemon greets with a {@link Greeting}; a request has
 * a number, and gets events by that number and one reply. Requests of one connection may overlap.
 */

import type { DiskSpecification } from "../toolstack/config/disk.ts";
import type { DomainConfig } from "../toolstack/config/domain-config.ts";
import type { NetworkSpecification } from "../toolstack/config/vif.ts";
import type { ChannelInformation } from "../toolstack/consoles.ts";
import type { DiskInformation } from "../toolstack/disks.ts";
import type { CoreFormat, EndReason, Trigger } from "../toolstack/guest-domain.ts";
import type { DomainInfo, HostInfo, VcpuInfo } from "../toolstack/info.ts";
import type { NetworkInformation } from "../toolstack/network-interfaces.ts";
import type { EndAction, SchedulingParameters } from "../toolstack/options.ts";

/** Changes with every change that a command or a daemon of another version would misunderstand. */
export const PROTOCOL_VERSION = 3;

/** Characters of a line: more is no message. A piece of console output is much shorter. */
export const LONGEST_LINE = 1 << 20;

export interface Greeting {
	readonly paravirt: string;
	readonly protocol: number;
	readonly pid: number;
}

export interface DaemonStatus {
	readonly version: string;
	readonly pid: number;
	/** Seconds. */
	readonly uptimeSeconds: number;
	readonly socket: string;
	/** The socket of xenstore, for XENSTORED_PATH. */
	readonly store: string;
	readonly log: string;
	/** Bytes of machine memory; those that the daemon has taken from the host. */
	readonly machineMemory: number;
	readonly residentMemory: number;
	readonly domains: number;
	/** Seconds that it stays when there is no domain; undefined: until it is told to end. */
	readonly idleSeconds: number | undefined;
}

/** How a domain ended, and what became of it. */
export interface EndEvent {
	readonly domain: number;
	readonly name: string;
	readonly reason: EndReason;
	readonly action: EndAction;
	readonly crashReason: string | undefined;
	/** What it looked like when it crashed, as text. */
	readonly report: string | undefined;
}

/** A domain's number or name. */
interface Of {
	readonly domain: string | number;
}

type Nothing = Record<string, never>;

/** The daemon's methods: what they take, what they answer, and what events they send before that. */
export interface Methods {
	status: { params: Nothing; result: DaemonStatus; event: never };
	/** Ends the daemon, and with `force` the domains that there are. */
	stop: { params: { force: boolean }; result: null; event: never };
	list: { params: Nothing; result: readonly DomainInfo[]; event: never };
	info: { params: Nothing; result: HostInfo; event: never };
	vcpus: { params: Of; result: readonly VcpuInfo[]; event: never };
	/** The configuration that it was created from. */
	config: { params: Of; result: DomainConfig | null; event: never };
	create: { params: { config: DomainConfig; paused: boolean }; result: { id: number; name: string }; event: never };
	destroy: { params: Of; result: null; event: never };
	shutdown: { params: Of; result: null; event: never };
	reboot: { params: Of; result: null; event: never };
	pause: { params: Of; result: null; event: never };
	unpause: { params: Of; result: null; event: never };
	rename: { params: Of & { name: string }; result: null; event: never };
	setMemory: { params: Of & { bytes: number; force: boolean }; result: null; event: never };
	setMaximumMemory: { params: Of & { bytes: number }; result: null; event: never };
	setVcpus: { params: Of & { count: number }; result: null; event: never };
	setScheduling: { params: Of & Partial<SchedulingParameters>; result: null; event: never };
	sysrq: { params: Of & { letter: string }; result: null; event: never };
	trigger: { params: Of & { trigger: Trigger; vcpu: number }; result: null; event: never };
	/** Writes to a file, of which the path is absolute. */
	dumpCore: { params: Of & { file: string; live: boolean; format: CoreFormat }; result: null; event: never };
	log: { params: { clear: boolean }; result: string; event: never };
	disks: { params: Of; result: readonly DiskInformation[]; event: never };
	attachDisk: { params: Of & { disk: DiskSpecification }; result: DiskInformation; event: never };
	detachDisk: { params: Of & { disk: string; force: boolean }; result: "closed" | "forced"; event: never };
	networks: { params: Of; result: readonly NetworkInformation[]; event: never };
	attachNetwork: { params: Of & { network: NetworkSpecification }; result: NetworkInformation; event: never };
	detachNetwork: { params: Of & { network: string; force: boolean }; result: "closed" | "forced"; event: never };
	channels: { params: Of; result: readonly ChannelInformation[]; event: never };
	/** Tells how it ends, and with `restarts` how those end that are started in its place; answers when no other follows. */
	follow: { params: Of & { restarts: boolean }; result: null; event: EndEvent };
	/**
	 * Output of its console of that number (what nobody has read yet comes first), in base64; takes {@link Input}. An event without output comes
	 * as soon as it is attached: nothing that is written later is missed. Answers when the domain is gone.
	 */
	console: { params: Of & { number: number; restarts: boolean }; result: null; event: { readonly output: string } };
	/** Rows and columns of the terminal that its console is on. */
	terminalSize: { params: Of & { rows: number; columns: number }; result: null; event: never };
}

export type MethodName = keyof Methods;

export interface Request<M extends MethodName = MethodName> {
	readonly id: number;
	readonly method: M;
	readonly params: Methods[M]["params"];
}

/** Bytes in base64 for the console of a request. */
export interface Input {
	readonly id: number;
	readonly input: string;
}

/** What went wrong: for people, and with a code for programs. */
export interface Failure {
	readonly code: string;
	readonly message: string;
	readonly remedy: string;
}

export type Reply =
	| { readonly id: number; readonly event: unknown }
	| { readonly id: number; readonly result: unknown }
	| { readonly id: number; readonly error: Failure };

export function encodeLine(message: unknown): string {
	return `${JSON.stringify(message)}\n`;
}

/** Cuts a stream of bytes into lines. */
export class LineSplitter {
	private readonly decoder = new TextDecoder();
	private rest = "";

	/** @throws RangeError where a line is longer than {@link LONGEST_LINE} */
	push(bytes: Uint8Array): string[] {
		const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split("\n");
		this.rest = lines.pop() ?? "";
		if (this.rest.length > LONGEST_LINE || lines.some((line) => line.length > LONGEST_LINE)) {
			throw new RangeError("a line is too long");
		}
		return lines;
	}
}
