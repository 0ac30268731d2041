/**
 * The library: a machine on which domains are created, watched and ended. It puts the layers together - processor, hypervisor,
 * domain builder, console - and knows the platform only as an interface.
 */

import type { DetachOptions } from "../backends/xenbus/attach.ts";
import type { EngineOptions, ProcessorStatistics } from "../cpu/engine.ts";
import { PAGE_SIZE } from "../cpu/layout.ts";
import type { StoreClient } from "../store/client.ts";
import { closeDisks, type DiskInformation, type DiskRequest } from "../toolstack/disks.ts";
import type { CrashReport } from "../xen/crash.ts";
import { type Domain, ShutdownReason } from "../xen/domain.ts";
import type { Hypervisor } from "../xen/hypervisor.ts";
import type { LogKind } from "../xen/log.ts";
import { type KernelCache, openCachedKernel } from "./kernel-cache.ts";
import { type BuiltGuest, buildGuest, createMachine, type Machine } from "./machine.ts";
import type { Platform } from "./platform.ts";
import { executionStatistics, type Statistics } from "./statistics.ts";

export interface HostOptions {
	/** Bytes of machine memory, for all domains together. Only what guests touch is taken from the host. */
	readonly memory: number;
	/** Where the guests' time comes from: "real" follows the host, "deterministic" counts executed instructions. */
	readonly clock?: "real" | "deterministic";
	/** How instructions are executed: the interpreter alone, or with the translator for hot code (the default). */
	readonly processor?: EngineOptions;
	/** Where unpacked kernels are kept from one start to the next; by default nowhere. */
	readonly kernelCache?: KernelCache;
	/** What to trace: bits of TraceCategory. */
	readonly trace?: { readonly categories: number; readonly sink: (line: string) => void };
}

export interface DomainOptions {
	readonly name?: string;
	/** A bzImage or an ELF file: its bytes, or where the platform finds it. */
	readonly kernel: Uint8Array | string;
	readonly ramdisk?: Uint8Array | string;
	/** What messages call the images, where they are given as bytes. */
	readonly kernelName?: string;
	readonly ramdiskName?: string;
	/** The kernel's command line. */
	readonly commandLine?: string;
	/** Bytes; rounded down to whole frames. */
	readonly memory: number;
	readonly vcpus?: number;
	/** Disks that it has from the beginning: xl's specifications ("disk.qcow2,qcow2,xvda,rw"), or objects. */
	readonly disks?: readonly (DiskRequest | string)[];
}

/** Why a domain ended: Xen's shutdown reasons, or {@link GuestDomain.destroy}. */
export type EndReason = keyof typeof ShutdownReason | "destroyed";

export interface DomainEnd {
	readonly reason: EndReason;
	/** Why the hypervisor ended it, where it did. */
	readonly crashReason: string | undefined;
	/** What it looked like when it crashed. */
	readonly crash: CrashReport | undefined;
}

/** The guest's console, hvc0. */
export interface GuestConsole {
	/** Types on it. Text is sent as UTF-8. */
	write(data: Uint8Array | string): void;
	/** Bytes of input that the guest had no room for yet. */
	readonly pendingInput: number;
	/** Calls `listener` each time that all input has been handed to the guest. Returns what stops that. */
	onInputTaken(listener: () => void): () => void;
	/** Calls `listener` with each piece of output from now on. Returns what stops that. */
	onOutput(listener: (data: Uint8Array) => void): () => void;
}

/** Who wants to hear of something. */
class Listeners<T> {
	private readonly all = new Set<(value: T) => void>();

	add(listener: (value: T) => void): () => void {
		this.all.add(listener);
		return () => this.all.delete(listener);
	}

	readonly emit = (value: T): void => {
		for (const listener of this.all) listener(value);
	};
}

/** What a console tells. */
class ConsoleEvents {
	readonly output = new Listeners<Uint8Array>();
	readonly inputTaken = new Listeners<void>();
}

/** A domain that runs, or has run. */
export class GuestDomain {
	readonly console: GuestConsole;
	/** Its part of xenstore, with the rights of domain 0; relative paths are below /local/domain/ID. */
	readonly store: StoreClient;
	/** Resolved when it has shut down; never rejected. */
	readonly ended: Promise<DomainEnd>;
	private readonly domain: Domain;
	private end!: (end: DomainEnd) => void;

	/** Made by {@link Host.createDomain}. */
	constructor(
		private readonly machine: Machine,
		private readonly built: BuiltGuest,
		events: ConsoleEvents,
	) {
		const { domain } = built;
		this.domain = domain;
		this.console = {
			write: (data) => built.write(typeof data === "string" ? new TextEncoder().encode(data) : data),
			get pendingInput(): number {
				return built.pendingInput();
			},
			onInputTaken: (listener) => events.inputTaken.add(listener),
			onOutput: (listener) => events.output.add(listener),
		};
		this.store = built.store;
		this.ended = new Promise((resolve) => {
			this.end = resolve;
		});
		domain.onShutdown = (reason) => {
			const names = Object.keys(ShutdownReason) as (keyof typeof ShutdownReason)[];
			const name = names.find((candidate) => ShutdownReason[candidate] === reason) ?? "crash";
			built.handleShutdown();
			this.finish({ reason: name, crashReason: domain.crashReason, crash: domain.crashReport });
		};
	}

	get id(): number {
		return this.domain.id;
	}

	get name(): string {
		return this.domain.name;
	}

	/**
	 * Gives it a disk while it runs.
	 * @throws DiskSpecificationError, BlockError
	 */
	async attachDisk(disk: DiskRequest | string): Promise<DiskInformation> {
		return this.machine.disks.attach(this.id, await this.machine.disks.open(disk));
	}

	/**
	 * Takes a disk away; resolved when its image is closed.
	 * @param disk its name ("xvda") or number
	 * @returns "forced" where the guest did not let go of it in time
	 * @throws DiskSpecificationError where it has no such disk
	 */
	detachDisk(disk: string | number, options?: DetachOptions): Promise<"closed" | "forced"> {
		return this.machine.disks.detach(this.id, disk, options);
	}

	/**
	 * Gives a disk another size in bytes and tells the guest; without a size, tells it the size that the image has now.
	 * @throws DiskSpecificationError, BlockError
	 */
	resizeDisk(disk: string | number, size?: number): Promise<void> {
		return this.machine.disks.resize(this.id, disk, size);
	}

	/** Its disks, as `xl block-list` shows them. */
	disks(): readonly DiskInformation[] {
		return this.machine.disks.list(this.id);
	}

	/**
	 * Ends it at once, as pulling the plug does, and gives its memory back. Nothing happens where it has ended.
	 * @returns resolved when what its devices used (images of disks) is closed, so that another domain can have it
	 */
	destroy(): Promise<void> {
		this.finish({ reason: "destroyed", crashReason: undefined, crash: undefined });
		const closed = this.machine.backends.domainClosed(this.id);
		this.built.destroy();
		return closed;
	}

	private finish(end: DomainEnd): void {
		// What the guest wrote last is still in its console's ring.
		this.built.flush();
		this.end(end);
	}
}

export class Host {
	protected readonly machine: Machine;
	private readonly started: number;
	private readonly cpuAtStart: number | undefined;
	private loop: Promise<void> | undefined;
	private failure: ((error: unknown) => void) | undefined;
	/** Rejected where the machine itself fails: a bug in paravirt, never something that a guest did. */
	readonly failed: Promise<never>;

	private get hypervisor(): Hypervisor {
		return this.machine.hypervisor;
	}

	/** @throws RangeError where the machine cannot have that much memory. */
	constructor(
		readonly options: HostOptions,
		private readonly platform: Platform,
	) {
		this.started = platform.milliseconds();
		this.cpuAtStart = platform.cpuSeconds();
		this.machine = createMachine(
			Math.floor(options.memory / PAGE_SIZE),
			options.clock ?? "real",
			platform,
			options.processor,
		);
		if (options.trace !== undefined) {
			this.hypervisor.trace.categories = options.trace.categories;
			this.hypervisor.trace.sink = options.trace.sink;
		}
		this.failed = new Promise((_, reject) => {
			this.failure = reject;
		});
		this.failed.catch(() => {});
	}

	/**
	 * Builds a domain and lets it run.
	 * @param prepare called before its first instruction, for listeners that must miss nothing.
	 * @throws ImageError where the kernel or the ramdisk cannot be booted; DiskSpecificationError and BlockError for a disk.
	 */
	async createDomain(options: DomainOptions, prepare?: (domain: GuestDomain) => void): Promise<GuestDomain> {
		const [kernel, ramdisk] = await Promise.all([this.load(options.kernel), this.load(options.ramdisk)]);
		const events = new ConsoleEvents();
		const kernelName = options.kernelName ?? (typeof options.kernel === "string" ? options.kernel : "kernel");
		const image = await openCachedKernel(kernel as Uint8Array, kernelName, this.options.kernelCache);
		const disks = await this.machine.disks.openAll(options.disks ?? []);
		const request = {
			name: options.name ?? "guest",
			kernel: kernel as Uint8Array,
			kernelName,
			ramdisk,
			ramdiskName: options.ramdiskName ?? (typeof options.ramdisk === "string" ? options.ramdisk : "ramdisk"),
			commandLine: options.commandLine ?? "",
			memory: options.memory,
			vcpus: options.vcpus ?? 1,
			onOutput: events.output.emit,
			onInputTaken: events.inputTaken.emit,
		};
		let built: BuiltGuest;
		try {
			built = buildGuest(this.machine, image, request);
		} catch (error) {
			await closeDisks(disks);
			throw error;
		}
		try {
			this.machine.disks.attachAll(built.domain.id, disks);
		} catch (error) {
			built.destroy();
			throw error;
		}
		const guest = new GuestDomain(this.machine, built, events);
		prepare?.(guest);
		this.start();
		return guest;
	}

	/** All of xenstore, with the rights of domain 0. */
	get store(): StoreClient {
		return this.machine.store;
	}

	statistics(): Statistics {
		const { clock, domains, memory, processor, scheduler, trace } = this.hypervisor;
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
			scheduler: { ...scheduler.statistics },
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

	/** Calls `listener` with each line of the hypervisor's log from now on, and what kind of a line it is. */
	onLog(listener: (line: string, kind: LogKind) => void): void {
		this.hypervisor.log.listener = listener;
	}

	/** Stops the machine: what runs on it stays where it is. */
	stop(): void {
		this.hypervisor.scheduler.stop();
	}

	private start(): void {
		// The scheduler returns when no domain is left; a domain that came in its last moment needs it again.
		const run = async (): Promise<void> => this.hypervisor.scheduler.run();
		this.loop = (this.loop ?? Promise.resolve()).then(run).catch((error: unknown) => this.failure?.(error));
	}

	private async load(image: Uint8Array | string | undefined): Promise<Uint8Array | undefined> {
		return typeof image === "string" ? this.platform.readFile(image) : image;
	}
}
