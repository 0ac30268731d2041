/** A domain as the library shows it: its console and store, what can be asked of it and done to it. What is done is in the files beside. */

import type { DetachOptions } from "../backends/xenbus/attach.ts";
import type { StoreClient } from "../store/client.ts";
import { createNode } from "../store/domain-nodes.ts";
import { homePath } from "../store/path.ts";
import type { CrashReport } from "../xen/crash.ts";
import type { Domain } from "../xen/domain.ts";
import { sendNmi } from "../xen/hypercalls/vcpu.ts";
import type { ChannelInformation, FurtherConsole } from "./consoles.ts";
import { type RequestOptions, requestShutdown, sendSysrq, setOnlineVcpus } from "./control.ts";
import { type CoreWriter, writeCore } from "./core-dump.ts";
import { writeGdbCore } from "./core-gdb.ts";
import type { BuiltGuest } from "./create.ts";
import { closeDisks, type DiskInformation, type DiskRequest } from "./disks.ts";
import { ToolstackError } from "./errors.ts";
import { type DomainInfo, domainInfo, type ShutdownName, shutdownName, type VcpuInfo, vcpuInfos } from "./info.ts";
import { Listeners } from "./listeners.ts";
import type { Machine } from "./machine.ts";
import { setMaximumMemory, setMemoryTarget } from "./memory.ts";
import { checkName } from "./names.ts";
import { closeNetworks, type NetworkInformation, type NetworkRequest } from "./network-interfaces.ts";
import type { EndAction, EndActions, SchedulingParameters } from "./options.ts";
import { checkScheduling } from "./scheduling.ts";
import type { ShareInformation, ShareRequest } from "./shares.ts";
import { formatUuid } from "./uuid.ts";

/** Why a domain ended: Xen's shutdown reasons, or {@link GuestDomain.destroy}. */
export type EndReason = ShutdownName | "destroyed";

export interface DomainEnd {
	readonly reason: EndReason;
	/** Why the hypervisor ended it, where it did. */
	readonly crashReason: string | undefined;
	/** What it looked like when it crashed. */
	readonly crash: CrashReport | undefined;
	/** What becomes of it now. */
	readonly action: EndAction;
}

/** A console of a guest's. */
export interface ConsolePort {
	/** Types on it. Text is sent as UTF-8. */
	write(data: Uint8Array | string): void;
	/** Bytes of input that the guest had no room for yet. */
	readonly pendingInput: number;
	/** Calls `listener` each time that all input has been handed to the guest. Returns what stops that. */
	onInputTaken(listener: () => void): () => void;
	/** Calls `listener` with each piece of output from now on. Returns what stops that. */
	onOutput(listener: (data: Uint8Array) => void): () => void;
}

/** The guest's first console, hvc0. */
export interface GuestConsole extends ConsolePort {
	/** Calls `listener` when the domain has ended, after its last output; at once where it has. Returns what stops that. */
	onEnd(listener: (end: DomainEnd) => void): () => void;
}

/** What a console tells. */
export class ConsoleEvents {
	readonly output = new Listeners<Uint8Array>();
	readonly inputTaken = new Listeners<void>();
}

/** What a domain needs of the host around it. */
export interface DomainHost {
	readonly machine: Machine;
	/** @throws ToolstackError name-in-use */
	checkNameFree(name: string, except: GuestDomain): void;
	unusedName(base: string): string;
	/** It is destroyed. */
	forget(domain: GuestDomain): void;
}

/** Triggers of `xl trigger`; a PV guest has one. */
export type Trigger = "nmi" | "reset" | "init" | "power" | "sleep" | "s3resume";

/** Xen's format, and that of a core of the kernel, which gdb opens. */
export const CORE_FORMATS = ["xen", "gdb"] as const;
export type CoreFormat = (typeof CORE_FORMATS)[number];

export interface DumpOptions {
	/** It goes on meanwhile; what is written is of no one moment then. */
	readonly live?: boolean;
	/** "xen" by default. */
	readonly format?: CoreFormat;
}

/** A domain that runs, or has run. What cannot be done throws a {@link ToolstackError} with its code. */
export class GuestDomain {
	readonly console: GuestConsole;
	/** Its part of xenstore, with the rights of domain 0; relative paths are below /local/domain/ID. Watches by it end with the domain. */
	readonly store: StoreClient;
	/** Resolved when it has shut down; never rejected. */
	readonly ended: Promise<DomainEnd>;
	/**
	 * Resolved when what its end led to is done: with the domain that was started in its place, or undefined. Rejected where that could
	 * not be started (the host's log says so too).
	 */
	readonly successor: Promise<GuestDomain | undefined>;
	private end!: (end: DomainEnd) => void;
	private destroyed = false;
	private hasEnded = false;
	private closed = Promise.resolve();
	private pausedByTool: boolean;

	/** Made by Host.createDomain. */
	constructor(
		private readonly host: DomainHost,
		private readonly built: BuiltGuest,
		events: ConsoleEvents,
		/** What is done when it ends; may be changed until then. */
		public actions: EndActions,
		followUp: (domain: GuestDomain, end: DomainEnd) => Promise<GuestDomain | undefined>,
	) {
		const { domain } = built;
		this.pausedByTool = domain.paused;
		this.console = {
			write: (data) => built.write(typeof data === "string" ? new TextEncoder().encode(data) : data),
			get pendingInput(): number {
				return built.pendingInput();
			},
			onInputTaken: (listener) => events.inputTaken.add(listener),
			onOutput: (listener) => events.output.add(listener),
			onEnd: (listener) => {
				const listeners = new Listeners<DomainEnd>();
				const stop = listeners.add(listener);
				void this.ended.then(listeners.emit);
				return stop;
			},
		};
		this.store = built.store;
		this.ended = new Promise((resolve) => {
			this.end = resolve;
		});
		this.successor = this.ended.then((end) => followUp(this, end));
		this.successor.catch(() => {});
		domain.onShutdown = (code) => {
			const reason = shutdownName(code);
			built.handleShutdown();
			const { crashReason, crashReport: crash } = domain;
			this.finish({ reason, crashReason, crash, action: actionFor(this.actions, reason) });
		};
	}

	get id(): number {
		return this.domain.id;
	}

	get name(): string {
		return this.domain.name;
	}

	/** "xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx" */
	get uuid(): string {
		return formatUuid(this.domain.handle);
	}

	/** State, memory, times: what `xl list` tells. Also of a domain that is destroyed. */
	info(): DomainInfo {
		return domainInfo(this.host.machine, this.domain, this.destroyed);
	}

	/** Its vCPUs, online or not: what `xl vcpu-list` tells. */
	vcpus(): VcpuInfo[] {
		return vcpuInfos(this.domain);
	}

	/** Stops it where it is, until {@link unpause}. Time goes on meanwhile. Nothing happens where it is paused. */
	pause(): void {
		this.checkExists();
		if (!this.pausedByTool) this.host.machine.hypervisor.scheduler.pause(this.domain);
		this.pausedByTool = true;
	}

	/** Lets it go on. Nothing happens where it is not paused. */
	unpause(): void {
		this.checkExists();
		if (this.pausedByTool) this.host.machine.hypervisor.scheduler.unpause(this.domain);
		this.pausedByTool = false;
	}

	/**
	 * Asks the guest to power itself off, and waits until it has taken note of it; {@link ended} tells when it has.
	 * @throws ToolstackError no-reaction where it does not take note in time, not-running where it has ended
	 */
	async shutdown(options?: RequestOptions): Promise<void> {
		this.checkRuns();
		await requestShutdown(this.host.machine, this.domain, "poweroff", options);
	}

	/** Asks the guest to restart, like {@link shutdown}. What becomes of it then is `actions.onReboot`'s to say. */
	async reboot(options?: RequestOptions): Promise<void> {
		this.checkRuns();
		await requestShutdown(this.host.machine, this.domain, "reboot", options);
	}

	/** @throws ToolstackError unsupported: a guest that suspends cannot be resumed yet, so none is asked to. */
	async suspend(): Promise<void> {
		this.checkRuns();
		throw new ToolstackError("unsupported", "domains cannot be saved and resumed yet", "Pause the domain instead");
	}

	/** Presses a SysRq key in the guest. @throws ToolstackError out-of-range for what is no letter or digit */
	sysrq(letter: string): void {
		this.checkRuns();
		sendSysrq(this.host.machine, this.domain, letter);
	}

	/**
	 * Sends a non-maskable interrupt to a vCPU, which is all that a PV guest can be sent.
	 * @throws ToolstackError unsupported for other triggers, out-of-range where there is no such vCPU
	 */
	trigger(trigger: Trigger, vcpuId = 0): void {
		this.checkRuns();
		if (trigger !== "nmi") {
			throw new ToolstackError("unsupported", `a PV guest has no trigger "${trigger}"`, 'It has "nmi"');
		}
		const vcpu = this.domain.vcpus[vcpuId];
		if (vcpu === undefined || !vcpu.online) {
			throw new ToolstackError(
				"out-of-range",
				`domain ${this.id} (${this.name}) has no vCPU ${vcpuId} that is online`,
				"Look at its list of vCPUs",
			);
		}
		sendNmi(vcpu);
	}

	/**
	 * Asks the guest's balloon for a size, and lets it own no more from now on.
	 * @param bytes rounded down to KiB; the domain's static maximum at the most
	 * @param force also to less than a kernel can be expected to live on
	 * @throws ToolstackError out-of-range, not-enough-memory
	 */
	setMemoryTarget(bytes: number, { force = false }: { readonly force?: boolean } = {}): void {
		this.checkRuns();
		setMemoryTarget(this.host.machine, this.domain, bytes, force);
	}

	/** Sets what it may own at the most. @throws ToolstackError out-of-range below its target */
	setMaximumMemory(bytes: number): void {
		this.checkExists();
		setMaximumMemory(this.host.machine, this.domain, bytes);
	}

	/** Asks the guest to have so many vCPUs online. @throws ToolstackError out-of-range above their number */
	setVcpus(count: number): void {
		this.checkRuns();
		setOnlineVcpus(this.host.machine, this.domain, count);
	}

	get scheduling(): SchedulingParameters {
		return { weight: this.domain.weight, cap: this.domain.cap };
	}

	/** Sets its share of the processor. @throws ToolstackError out-of-range */
	setScheduling(parameters: Partial<SchedulingParameters>): void {
		this.checkExists();
		const { weight, cap } = checkScheduling({ ...this.scheduling, ...parameters }, this.domain.vcpus.length);
		this.host.machine.hypervisor.scheduler.setParameters(this.domain, weight, cap);
	}

	/** Gives it another name. @throws ToolstackError invalid-name, name-in-use */
	rename(name: string): void {
		this.checkExists();
		checkName(name);
		this.host.checkNameFree(name, this);
		this.setName(name);
	}

	/** For its successor (rename-restart): takes a name like the given one, and another UUID. */
	giveIdentityAway(name: string, uuid: Uint8Array): void {
		this.checkExists();
		const home = homePath(this.id);
		this.host.machine.store.transaction((store) => {
			const before = store.read(`${home}/vm`);
			const vm = `/vm/${formatUuid(uuid)}`;
			createNode(store, vm, ["n0", `r${this.id}`]);
			store.write(`${vm}/uuid`, formatUuid(uuid));
			store.write(`${home}/vm`, vm);
			if (before !== undefined) store.remove(before);
		});
		this.domain.handle.set(uuid);
		this.setName(this.host.unusedName(name));
	}

	/**
	 * Writes its memory and the state of its vCPUs as an ELF file: in Xen's format (docs/misc/dump-core-format.txt), which `crash` reads, or
	 * as a core of its kernel that gdb opens. It is paused meanwhile, unless `live`.
	 * @param write is called with each piece in order, and awaited
	 */
	async dumpCore(write: CoreWriter, { live = false, format = "xen" }: DumpOptions = {}): Promise<void> {
		this.checkExists();
		const { scheduler } = this.host.machine.hypervisor;
		if (!live) scheduler.pause(this.domain);
		try {
			const writeFile = format === "gdb" ? writeGdbCore : writeCore;
			await writeFile(this.domain, write, () => this.destroyed);
		} finally {
			if (!live && !this.destroyed) scheduler.unpause(this.domain);
		}
		this.checkExists();
	}

	/**
	 * Gives it a disk while it runs.
	 * @throws DiskSpecificationError, BlockError
	 */
	async attachDisk(disk: DiskRequest | string): Promise<DiskInformation> {
		this.checkExists();
		const { disks } = this.host.machine;
		const opened = await disks.open(disk);
		if (this.destroyed) await closeDisks([opened]);
		this.checkExists();
		return disks.attach(this.id, opened);
	}

	/**
	 * Takes a disk away; resolved when its image is closed.
	 * @param disk its name ("xvda") or number
	 * @returns "forced" where the guest did not let go of it in time
	 * @throws DiskSpecificationError where it has no such disk
	 */
	detachDisk(disk: string | number, options?: DetachOptions): Promise<"closed" | "forced"> {
		return this.host.machine.disks.detach(this.id, disk, options);
	}

	/**
	 * Gives a disk another size in bytes and tells the guest; without a size, tells it the size that the image has now.
	 * @throws DiskSpecificationError, BlockError
	 */
	resizeDisk(disk: string | number, size?: number): Promise<void> {
		return this.host.machine.disks.resize(this.id, disk, size);
	}

	/**
	 * Gives it a network interface while it runs.
	 * @throws NetworkError
	 */
	async attachNetwork(network: NetworkRequest | string = ""): Promise<NetworkInformation> {
		this.checkExists();
		const { networks } = this.host.machine;
		const opened = await networks.open(network);
		if (this.destroyed) closeNetworks([opened]);
		this.checkExists();
		return networks.attach(this.id, opened, this.name);
	}

	/**
	 * Takes a network interface away; resolved when nothing of it is in use any more.
	 * @param which its number or Ethernet address
	 * @throws NetworkError where it has no such interface
	 */
	detachNetwork(which: number | string, options?: DetachOptions): Promise<"closed" | "forced"> {
		return this.host.machine.networks.detach(this.id, which, options);
	}

	/** Its network interfaces, as `xl network-list` shows them. */
	networks(): readonly NetworkInformation[] {
		return this.host.machine.networks.list(this.id);
	}

	/** Its disks, as `xl block-list` shows them. */
	disks(): readonly DiskInformation[] {
		return this.host.machine.disks.list(this.id);
	}

	/**
	 * Gives it a folder of the host while it runs: `mount -t 9p -o trans=xen TAG DIRECTORY` in the guest.
	 * @param share xl's specification ("tag=home,path=/home/me"), or an object
	 * @throws ShareSpecificationError
	 */
	attachShare(share: ShareRequest | string): ShareInformation {
		this.checkExists();
		const { shares } = this.host.machine;
		return shares.attach(this.id, shares.open(share));
	}

	/**
	 * Takes a share away; resolved when its files are closed. A guest that has it mounted sees errors.
	 * @param share its tag or number
	 * @returns "forced" where the guest did not let go of it in time
	 * @throws ShareSpecificationError where it has no such share
	 */
	detachShare(share: string | number, options?: DetachOptions): Promise<"closed" | "forced"> {
		return this.host.machine.shares.detach(this.id, share, options);
	}

	/** Gives it a further console, hvc1 and so on in Linux. @throws ToolstackError out-of-range where it has ten */
	attachConsole(): FurtherConsole {
		this.checkExists();
		return this.host.machine.consoles.attach(this.id);
	}

	/** Takes a further console away, by its number. @throws ToolstackError out-of-range where it has no such console */
	detachConsole(number: number, options?: DetachOptions): Promise<"closed" | "forced"> {
		return this.host.machine.consoles.detach(this.id, number, options);
	}

	/** Its consoles beside {@link console}, by number. */
	consoles(): readonly FurtherConsole[] {
		return this.host.machine.consoles.list(this.id);
	}

	/** Its channels, which are among its {@link consoles}, as `xl channel-list` shows them. */
	channels(): readonly ChannelInformation[] {
		return this.host.machine.consoles.channels(this.id);
	}

	/** The host's folders that it shares. */
	shares(): readonly ShareInformation[] {
		return this.host.machine.shares.list(this.id);
	}

	/**
	 * Ends it at once, as pulling the plug does, and gives its memory back. Nothing happens where it has been.
	 * @returns resolved when what its devices used (images of disks) is closed, so that another domain can have it
	 */
	destroy(): Promise<void> {
		if (this.destroyed) return this.closed;
		this.finish({ reason: "destroyed", crashReason: undefined, crash: undefined, action: "destroy" });
		this.destroyed = true;
		this.closed = this.host.machine.backends.domainClosed(this.id);
		this.built.destroy();
		this.host.forget(this);
		return this.closed;
	}

	/** It has been destroyed. */
	get isDestroyed(): boolean {
		return this.destroyed;
	}

	private get domain(): Domain {
		return this.built.domain;
	}

	private setName(name: string): void {
		const home = homePath(this.id);
		this.domain.name = name;
		this.host.machine.store.transaction((store) => {
			store.write(`${home}/name`, name);
			const vm = store.read(`${home}/vm`);
			if (vm !== undefined) store.write(`${vm}/name`, name);
		});
	}

	private finish(end: DomainEnd): void {
		// What the guest wrote last is still in its console's ring.
		this.built.flush();
		if (!this.hasEnded) this.end(end);
		this.hasEnded = true;
	}

	private checkExists(): void {
		if (!this.destroyed) return;
		throw new ToolstackError("destroyed", `domain ${this.id} (${this.name}) has been destroyed`, "Create it again");
	}

	private checkRuns(): void {
		this.checkExists();
		if (this.domain.shutdown === undefined) return;
		const how = shutdownName(this.domain.shutdown);
		throw new ToolstackError(
			"not-running",
			`domain ${this.id} (${this.name}) has shut down: ${how}`,
			"Destroy it, and create it again",
		);
	}
}

function actionFor(actions: EndActions, reason: ShutdownName): EndAction {
	switch (reason) {
		case "poweroff":
			return actions.onPoweroff;
		case "reboot":
			return actions.onReboot;
		case "crash":
			return actions.onCrash;
		case "watchdog":
			return actions.onWatchdog;
		case "softReset":
			// What it hoped for, to go on in another kernel with its memory, is not there.
			return actions.onCrash;
		case "suspend":
			// Nobody asked for it, and there is no saving: it stays, as with xl.
			return "preserve";
	}
}
