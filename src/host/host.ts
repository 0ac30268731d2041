/**
 * The library: a machine on which domains are created, watched, managed and ended. It puts the layers together and knows the platform
 * only as an interface; what is done to domains is in toolstack/.
 */

import type { ProcessorStatistics } from "../cpu/engine.ts";
import type { LogKind } from "../machine/log.ts";
import { PAGE_SIZE } from "../memory/map.ts";
import type { Platform } from "../platform/platform.ts";
import type { StoreClient } from "../store/client.ts";
import { countUse, type MachineUse } from "../toolstack/audit.ts";
import { closeChannels, type OpenChannel } from "../toolstack/consoles.ts";
import { type BuiltGuest, buildGuest } from "../toolstack/create.ts";
import { closeDisks } from "../toolstack/disks.ts";
import { Domains } from "../toolstack/domains.ts";
import { followUp } from "../toolstack/endings.ts";
import { ToolstackError } from "../toolstack/errors.ts";
import { ConsoleEvents, type DomainHost, GuestDomain } from "../toolstack/guest-domain.ts";
import { type DomainInfo, domainInfo, type HostInfo, hostInfo } from "../toolstack/info.ts";
import type { Machine } from "../toolstack/machine.ts";
import { checkName } from "../toolstack/names.ts";
import { closeNetworks, type OpenNetwork } from "../toolstack/network-interfaces.ts";
import { LIBRARY_END_ACTIONS } from "../toolstack/options.ts";
import { checkScheduling } from "../toolstack/scheduling.ts";
import { closeShares, type OpenShare } from "../toolstack/shares.ts";
import { parseUuid } from "../toolstack/uuid.ts";
import { DEFAULT_WEIGHT } from "../xen/domain.ts";
import type { Hypervisor } from "../xen/hypervisor.ts";
import { attachProfiler, type Profile } from "../xen/profile.ts";
import { openCachedKernel } from "./kernel-cache.ts";
import { createMachine } from "./machine.ts";
import {
	type CheckedDomainOptions,
	checkDomainOptions,
	checkHostOptions,
	type DomainOptions,
	type HostOptions,
} from "./options.ts";
import { executionStatistics, type Statistics } from "./statistics.ts";

export type { ConsoleEvents, DomainEnd, EndReason, GuestConsole } from "../toolstack/guest-domain.ts";
export { GuestDomain } from "../toolstack/guest-domain.ts";
export type { DomainOptions, HostOptions } from "./options.ts";

const RESTART_INTERVAL = 1000;
const MIB = 2 ** 20;

type NamedOptions = CheckedDomainOptions & { readonly name: string };

export class Host {
	protected readonly machine: Machine;
	private readonly started: number;
	private readonly cpuAtStart: number | undefined;
	private stopped = false;
	/** Samples of all guests so far, where {@link HostOptions.profile} asked for them. */
	readonly profile: Profile | undefined;
	private loop: Promise<void> | undefined;
	private failure: ((error: unknown) => void) | undefined;
	/** Rejected where the machine itself fails: a bug in paravirt, never something that a guest did. */
	readonly failed: Promise<never>;

	/** Those that there are, with those that have shut down and are not destroyed. */
	readonly domains = new Domains();
	private readonly domainHost: DomainHost;

	private get hypervisor(): Hypervisor {
		return this.machine.hypervisor;
	}

	/** @throws ToolstackError invalid-option; not-enough-memory where the machine cannot have that much. */
	constructor(
		readonly options: HostOptions,
		private readonly platform: Platform,
	) {
		this.started = platform.milliseconds();
		this.cpuAtStart = platform.cpuSeconds();
		this.machine = this.createMachine(checkHostOptions(options));
		if (options.profile !== undefined) this.profile = attachProfiler(this.hypervisor, options.profile.interval);
		if (options.trace !== undefined) {
			this.hypervisor.trace.categories = options.trace.categories;
			this.hypervisor.trace.sink = options.trace.sink;
		}
		this.domainHost = {
			machine: this.machine,
			checkNameFree: (name, except) => this.domains.checkNameFree(name, except),
			unusedName: (base) => this.domains.unusedName(base),
			forget: (domain) => this.domains.delete(domain),
		};
		this.failed = new Promise((_, reject) => {
			this.failure = reject;
		});
		this.failed.catch(() => {});
	}

	/**
	 * Builds a domain and lets it run.
	 * @param prepare called before its first instruction, for listeners that must miss nothing; and again with each domain that is started
	 * in its place when it ends (the actions `restart`, `rename-restart`, `coredump-restart`).
	 * @throws ImageError where the kernel or the ramdisk cannot be booted; ToolstackError where an option cannot be;
	 * DiskSpecificationError and BlockError for a disk; ShareSpecificationError for a shared folder; ChannelError for a channel.
	 */
	async createDomain(wanted: DomainOptions, prepare?: (domain: GuestDomain) => void): Promise<GuestDomain> {
		const options = checkDomainOptions(wanted);
		const name = options.name ?? this.domains.unusedName("guest");
		// A restart looks for the same name again, also where it was given by the host.
		const again = { ...options, name };
		const uuid = this.checkOptions(again);
		const release = this.domains.reserve(name);
		try {
			return await this.build(again, uuid, prepare);
		} finally {
			release();
		}
	}

	/** Whose number or name that is. @throws ToolstackError no-such-domain */
	findDomain(idOrName: number | string): GuestDomain {
		return this.domains.find(idOrName);
	}

	/** What `xl list` tells, domain 0 (the host's services; it has no memory and no vCPUs of its own) first. */
	listDomains(): DomainInfo[] {
		return [domainInfo(this.machine, this.machine.service), ...[...this.domains].map((domain) => domain.info())];
	}

	/** What `xl info` tells. */
	info(): HostInfo {
		return hostInfo(this.machine);
	}

	/** What of the machine is in use, counted: to see that nothing is left of domains that are gone. It takes a while. */
	use(): MachineUse {
		return countUse(this.machine);
	}

	private async build(
		options: NamedOptions,
		uuid: Uint8Array | undefined,
		prepare: ((domain: GuestDomain) => void) | undefined,
	): Promise<GuestDomain> {
		const [kernel, ramdisk] = await Promise.all([this.load(options.kernel), this.load(options.ramdisk)]);
		const events = new ConsoleEvents();
		const kernelName = options.kernelName ?? (typeof options.kernel === "string" ? options.kernel : "kernel");
		const image = await openCachedKernel(kernel as Uint8Array, kernelName, this.options.kernelCache);
		const vcpus = options.vcpus ?? 1;
		const request = {
			...options,
			uuid,
			image,
			kernel: kernel as Uint8Array,
			kernelName,
			ramdisk: ramdisk && this.unpack(ramdisk, options.memory),
			ramdiskName: options.ramdiskName ?? (typeof options.ramdisk === "string" ? options.ramdisk : "ramdisk"),
			commandLine: options.commandLine ?? "",
			vcpus,
			maximumVcpus: options.maximumVcpus ?? vcpus,
			scheduling: { weight: options.weight ?? DEFAULT_WEIGHT, cap: options.cap ?? 0 },
			paused: options.paused ?? false,
			onOutput: events.output.emit,
			onInputTaken: events.inputTaken.emit,
		};
		const disks = await this.machine.disks.openAll(options.disks ?? []);
		let networks: OpenNetwork[] = [];
		let channels: readonly OpenChannel[] = [];
		let shares: readonly OpenShare[] = [];
		let built: BuiltGuest;
		try {
			networks = await this.machine.networks.openAll(options.networks ?? []);
			channels = await this.machine.consoles.openAll(options.channels ?? []);
			shares = this.machine.shares.openAll(options.shares ?? []);
			built = buildGuest(this.machine, request);
		} catch (error) {
			closeShares(shares);
			closeChannels(channels);
			closeNetworks(networks);
			await closeDisks(disks);
			throw error;
		}
		try {
			this.machine.disks.attachAll(built.domain.id, disks);
			this.machine.networks.attachAll(built.domain.id, networks, options.name);
			const open = channels;
			channels = [];
			this.machine.consoles.attachAll(built.domain.id, open);
			for (let count = 0; count < (options.furtherConsoles ?? 0); count++)
				this.machine.consoles.attach(built.domain.id);
			const ready = shares;
			shares = [];
			this.machine.shares.attachAll(built.domain.id, ready);
		} catch (error) {
			closeShares(shares);
			closeChannels(channels);
			built.destroy();
			throw error;
		}
		const { onPoweroff, onReboot, onCrash, onWatchdog } = { ...LIBRARY_END_ACTIONS, ...options };
		const guest = new GuestDomain(
			this.domainHost,
			built,
			events,
			{ onPoweroff, onReboot, onCrash, onWatchdog },
			(domain, end) =>
				followUp(domain, end, {
					machine: this.machine,
					saveCore: (of) => this.saveCore(of),
					restart: (id) => this.createDomain({ ...options, uuid: id, paused: false }, prepare),
					stopped: () => this.stopped,
					restartInterval: this.options.restartInterval ?? RESTART_INTERVAL,
				}),
		);
		this.domains.add(guest);
		prepare?.(guest);
		this.start();
		return guest;
	}

	private createMachine(memory: number): Machine {
		const { clock = "real", processor, nat } = this.options;
		try {
			return createMachine(Math.floor(memory / PAGE_SIZE), clock, this.platform, processor, nat);
		} catch (error) {
			if (!(error instanceof RangeError)) throw error;
			const reason = `a machine cannot have ${Math.ceil(memory / MIB)} MiB here: ${error.message}`;
			throw new ToolstackError("not-enough-memory", reason, "Give it less", { cause: error });
		}
	}

	/** @returns the UUID's bytes */
	private checkOptions(options: NamedOptions): Uint8Array | undefined {
		const vcpus = options.vcpus ?? 1;
		const maximumVcpus = options.maximumVcpus ?? vcpus;
		checkName(options.name);
		this.domains.checkNameFree(options.name);
		const { vendor } = this.hypervisor.processor;
		if (options.cpuVendor !== undefined && options.cpuVendor !== vendor) {
			throw new ToolstackError(
				"unsupported",
				`the domain asks for a processor of ${options.cpuVendor}'s, and this host has one of ${vendor}'s for all its domains`,
				`Start a host that has it: paravirt daemon stop, and paravirt daemon start --cpu-vendor ${options.cpuVendor} (in a program: HostOptions.processor.vendor)`,
			);
		}
		checkScheduling({ weight: options.weight ?? DEFAULT_WEIGHT, cap: options.cap ?? 0 }, maximumVcpus);
		if (!Number.isInteger(vcpus) || vcpus < 1 || maximumVcpus < vcpus) {
			throw new ToolstackError(
				"out-of-range",
				`a domain cannot have ${vcpus} of ${maximumVcpus} vCPUs online`,
				"Give at least one, and a maximum that is not smaller",
			);
		}
		if (options.maximumMemory < options.memory) {
			throw new ToolstackError(
				"out-of-range",
				"the maximum of memory is less than the memory",
				"Give a larger maximum",
			);
		}
		if (options.uuid === undefined) return undefined;
		const uuid = parseUuid(options.uuid);
		if (uuid === undefined) {
			const remedy = "Give 32 hexadecimal digits, such as uuidgen prints, or none";
			throw new ToolstackError("invalid-uuid", `"${options.uuid}" is no UUID`, remedy);
		}
		this.domains.checkUuidFree(uuid);
		return uuid;
	}

	private async saveCore(domain: GuestDomain): Promise<void> {
		const { coreDirectory } = this.options;
		const { createFile } = this.platform;
		if (coreDirectory === undefined || createFile === undefined) {
			throw new ToolstackError(
				"not-writable",
				"the host has no directory for core dumps",
				"Give HostOptions.coreDirectory",
			);
		}
		const file = await createFile(`${coreDirectory}/${domain.name}.core`);
		try {
			await domain.dumpCore((piece) => file.write(piece));
		} finally {
			await file.close();
		}
	}

	/** All of xenstore, with the rights of domain 0. */
	get store(): StoreClient {
		return this.machine.store;
	}

	statistics(): Statistics {
		const { clock, domains, loop, memory, processor, scheduler, trace } = this.hypervisor;
		const wallSeconds = (this.platform.milliseconds() - this.started) / 1000;
		const cpu = this.platform.cpuSeconds();
		const cpuSeconds = cpu === undefined || this.cpuAtStart === undefined ? null : cpu - this.cpuAtStart;
		const instructions = processor.executed;
		const { statistics } = processor as { readonly statistics?: ProcessorStatistics };
		return {
			wallSeconds,
			cpuSeconds,
			guestSeconds: clock.now() / 1e9,
			clock: clock.deterministic ? "deterministic" : "real",
			instructions,
			mips: instructions / Math.max(cpuSeconds ?? wallSeconds, 1e-6) / 1e6,
			...trace.counters(),
			tlbMisses: statistics?.tlbMisses ?? null,
			execution: statistics === undefined ? null : executionStatistics(statistics),
			scheduler: { ...scheduler.statistics, ...loop.statistics },
			memory: {
				machineBytes: memory.frames * PAGE_SIZE,
				guestBytes: [...domains.values()].reduce((sum, domain) => sum + domain.pages, 0) * PAGE_SIZE,
				residentBytes: this.platform.residentBytes() ?? null,
			},
		};
	}

	/** The hypervisor's log, as `xl dmesg` shows it. */
	get log(): string {
		return this.hypervisor.log.read();
	}

	/** Empties it, as `xl dmesg -c` does. */
	clearLog(): void {
		this.hypervisor.log.clear();
	}

	/** Calls `listener` with each line of the hypervisor's log from now on, and what kind of a line it is. */
	onLog(listener: (line: string, kind: LogKind) => void): void {
		this.hypervisor.log.listener = listener;
	}

	/** Stops the machine: what runs on it stays where it is. */
	stop(): void {
		this.stopped = true;
		this.hypervisor.loop.stop();
	}

	private start(): void {
		this.stopped = false;
		// The loop returns when no domain is left; a domain that came in its last moment needs it again.
		const run = async (): Promise<void> => this.hypervisor.loop.run();
		this.loop = (this.loop ?? Promise.resolve()).then(run).catch((error: unknown) => this.failure?.(error));
	}

	/** The builder unpacks gzip-compressed ramdisks, too; this is faster. */
	private unpack(ramdisk: Uint8Array, limit: number): Uint8Array {
		const packed = ramdisk[0] === 0x1f && ramdisk[1] === 0x8b;
		return (packed ? this.platform.gunzip?.(ramdisk, limit) : undefined) ?? ramdisk;
	}

	private async load(image: Uint8Array | string | undefined): Promise<Uint8Array | undefined> {
		return typeof image === "string" ? this.platform.readFile(image) : image;
	}
}
