/**
 * Puts the layers together: a hypervisor with this project's processor, and a guest on it with its frames, its console and its
 * first vCPU. The only place that knows all of them.
 */
import { attachConsole } from "../backends/console/console.ts";
import { BackendBus } from "../backends/xenbus/bus.ts";
import { createProcessor, type EngineOptions } from "../cpu/engine.ts";
import { PAGE_SIZE } from "../cpu/layout.ts";
import { Memory } from "../cpu/memory.ts";
import { Gpr, Segment } from "../cpu/registers.ts";
import { StoreClient } from "../store/client.ts";
import { removeDomainNodes, writeDomainNodes, writeInitialNodes } from "../store/domain-nodes.ts";
import { connectGuest } from "../store/guest-link.ts";
import { homePath } from "../store/path.ts";
import { StoreServer } from "../store/server.ts";
import { Disks } from "../toolstack/disks.ts";
import { RESERVED_CONSOLE, RESERVED_XENSTORE } from "../xen/abi/grant-table.ts";
import {
	type BuiltDomain,
	buildDomain,
	codeNames,
	ImageError,
	type KernelImage,
	openKernel,
} from "../xen/boot/index.ts";
import { DeterministicClock, RealClock } from "../xen/clock.ts";
import type { Domain } from "../xen/domain.ts";
import { EventChannels } from "../xen/events.ts";
import { ServiceDomain } from "../xen/events-service.ts";
import { GrantTable } from "../xen/grants.ts";
import { initialVcpuInfo } from "../xen/hypercalls/vcpu.ts";
import { createHypervisor, type Hypervisor } from "../xen/hypervisor.ts";
import { relinquishDomain } from "../xen/mm/relinquish.ts";
import { adoptInitialTables } from "../xen/mm/roots.ts";
import type { Vcpu } from "../xen/vcpu.ts";
import type { Platform } from "./platform.ts";

/** A hypervisor, and the services that run beside it as domain 0. */
export interface Machine {
	readonly hypervisor: Hypervisor;
	readonly service: ServiceDomain;
	/** xenstored, and access to all of it. */
	readonly storeServer: StoreServer;
	readonly store: StoreClient;
	/** The back ends of devices. */
	readonly backends: BackendBus;
	/** Disks of guests. */
	readonly disks: Disks;
}

export interface GuestRequest {
	readonly name: string;
	readonly kernel: Uint8Array;
	/** Names for messages. */
	readonly kernelName: string;
	readonly ramdisk: Uint8Array | undefined;
	readonly ramdiskName: string;
	readonly commandLine: string;
	/** Bytes. */
	readonly memory: number;
	readonly vcpus: number;
	/** Gets each piece of console output. */
	readonly onOutput: (data: Uint8Array) => void;
	/** Called when the guest has room for input again and none waits. */
	readonly onInputTaken: () => void;
}

/** A guest that is ready to run. */
export interface BuiltGuest {
	readonly domain: Domain;
	/** The store; relative paths are below the domain's home. */
	readonly store: StoreClient;
	/** Input for its console. */
	write(data: Uint8Array): void;
	/** Bytes of it that wait. */
	pendingInput(): number;
	/** Hands on what the guest has written and nobody has fetched yet. */
	flush(): void;
	/** To be called when the domain has shut down: tells those who watch for it. */
	handleShutdown(): void;
	/** Takes the domain off the machine and frees what it had. */
	destroy(): void;
}

/** Domain 0, to which guests grant their rings. */
const SERVICE_DOMAIN = 0;

/** What a machine needs beside its guests' memory: M2P (8 bytes a frame), shared pages, grant tables. */
export function machineOverhead(guestBytes: number): number {
	return Math.ceil(guestBytes / 512) + 8 * 2 ** 20;
}

export function createMachine(
	frames: number,
	clock: "real" | "deterministic",
	platform: Platform,
	processor: EngineOptions = {},
): Machine {
	const hypervisor = createHypervisor({
		memory: new Memory(frames),
		// A run that is to be repeatable needs repeatable random numbers, too.
		createProcessor: (memory, environment) =>
			createProcessor(memory, environment, clock === "real" ? processor : { randomSeed: 1, ...processor }),
		createClock: (processor) =>
			clock === "real" ? new RealClock(() => platform.milliseconds()) : new DeterministicClock(processor),
		scheduler: { hostMilliseconds: () => platform.milliseconds() },
	});
	const service = new ServiceDomain(hypervisor);
	const storeServer = new StoreServer({
		domainExists: (domid) => hypervisor.domains.has(domid),
		connect: (server, domid, port) => {
			const domain = hypervisor.domains.get(domid);
			return domain === undefined ? undefined : connectGuest(server, service, domain, port);
		},
		log: (text) => hypervisor.log.write(`xenstore: ${text}`),
	});
	const store = new StoreClient(storeServer);
	writeInitialNodes(store);
	const backends = new BackendBus(store, service);
	const disks = new Disks(store, backends, platform.blockFiles(clock === "deterministic"));
	return { hypervisor, service, storeServer, store, backends, disks };
}

/**
 * Builds a guest; it runs as soon as the scheduler does.
 * @throws ImageError where its images cannot be booted or the machine has not enough memory.
 */
export function buildGuest(machine: Machine, image: KernelImage, request: GuestRequest): BuiltGuest {
	const { hypervisor, storeServer } = machine;
	const domain = hypervisor.createDomain(request.name);
	domain.symbolAt = lazySymbols(request);
	setUuid(domain);
	let closeConsole: () => void = () => {};
	const destroy = (): void => {
		closeConsole();
		storeServer.release(domain.id);
		removeDomainNodes(machine.store, domain.id);
		removeDomain(domain);
	};
	try {
		const { consolePort, storePort } = populate(machine, domain, image, request);
		if (storeServer.introduce(domain.id, storePort) !== undefined) {
			throw new Error("the store of a new domain cannot be attached");
		}
		const backend = attachConsole(machine.service, domain, consolePort, request);
		if (backend === undefined) throw new Error("the console of a new domain cannot be attached");
		closeConsole = () => backend.close();
		const write = (data: Uint8Array): void => backend.write(data);
		return {
			domain,
			store: new StoreClient(storeServer, homePath(domain.id)),
			write,
			pendingInput: () => backend.pendingInput,
			flush: () => backend.handleEvent(),
			handleShutdown: () => storeServer.domainShutDown(domain.id),
			destroy,
		};
	} catch (error) {
		destroy();
		throw error;
	}
}

/**
 * Names of the kernel's functions, for the report of a crash. The image is unpacked again for that: the unpacked one would take
 * tens of megabytes for as long as the guest runs.
 */
function lazySymbols(request: GuestRequest): (address: number) => string | undefined {
	const { kernel, kernelName } = request;
	let find: ((address: number) => string | undefined) | undefined;
	return (address) => {
		find ??= codeNames(openKernel(kernel, kernelName).elf);
		return find(address);
	};
}

/** The guest's ends of its two channels to domain 0. */
interface GuestPorts {
	readonly storePort: number;
	readonly consolePort: number;
}

/** Gives a new domain its frames, tables, event channels, vCPUs and nodes in the store. */
function populate(machine: Machine, domain: Domain, image: KernelImage, request: GuestRequest): GuestPorts {
	const { frames, memory, scheduler } = domain.hypervisor;
	const pages = Math.floor(request.memory / PAGE_SIZE);
	const sharedInfoMfn = frames.allocateShared(domain.id);
	if (sharedInfoMfn === undefined) throw machineFull(image.file);
	domain.sharedInfoFrame = sharedInfoMfn;
	domain.maximumPages = pages;
	domain.events = new EventChannels(domain);
	domain.grants = new GrantTable(domain);
	const storePort = domain.events.allocateUnbound(SERVICE_DOMAIN);
	const consolePort = domain.events.allocateUnbound(SERVICE_DOMAIN);
	const built = buildDomain(
		{
			memory,
			allocate: () => frames.allocate(domain.id),
			setM2p: (mfn, pfn) => frames.setM2p(mfn, pfn),
		},
		{
			kernel: image,
			ramdisk: request.ramdisk && { bytes: request.ramdisk, file: request.ramdiskName },
			commandLine: request.commandLine,
			pages,
			sharedInfoMfn,
			storePort,
			consolePort,
		},
	);
	domain.grants.seed(RESERVED_XENSTORE, SERVICE_DOMAIN, built.store.mfn);
	domain.grants.seed(RESERVED_CONSOLE, SERVICE_DOMAIN, built.console.mfn);
	for (let index = 0; index < request.vcpus; index++) {
		if (domain.addVcpu() === undefined) throw new RangeError(`the machine has no room for ${request.vcpus} vCPUs`);
	}
	const result = adoptInitialTables(domain, built.rootMfn);
	if (result !== 0)
		throw new Error(`the builder's page tables are refused: ${result}\n${domain.hypervisor.log.read()}`);
	const vcpu = domain.vcpus[0] as Vcpu;
	enterKernel(vcpu, built);
	scheduler.bringUp(vcpu);
	describe(machine, domain, built, request, { storePort, consolePort });
	return { storePort, consolePort };
}

/** Writes into the store what guest and tools look for there. */
function describe(
	machine: Machine,
	domain: Domain,
	built: BuiltDomain,
	request: GuestRequest,
	ports: GuestPorts,
): void {
	const { clock } = domain.hypervisor;
	const memory = (domain.maximumPages * PAGE_SIZE) / 1024;
	writeDomainNodes(machine.store, {
		domid: domain.id,
		name: domain.name,
		uuid: formatUuid(domain.handle),
		memory,
		maximumMemory: memory,
		vcpus: request.vcpus,
		...ports,
		storeFrame: built.store.mfn,
		consoleFrame: built.console.mfn,
		kernel: request.kernelName,
		ramdisk: request.ramdisk && request.ramdiskName,
		commandLine: request.commandLine,
		startTime: (clock.wallClockBase + clock.now()) / 1e9,
	});
}

/** A new domain's UUID: random, but as repeatable as all else where time is. */
function setUuid(domain: Domain): void {
	const { handle, hypervisor, id } = domain;
	if (hypervisor.clock.deterministic) handle.set([id >>> 8, id & 0xff], 14);
	else crypto.getRandomValues(handle);
	// Version 4, the variant of RFC 4122.
	handle[6] = ((handle[6] as number) & 0x0f) | 0x40;
	handle[8] = ((handle[8] as number) & 0x3f) | 0x80;
}

function formatUuid(handle: Uint8Array): string {
	const digits = [...handle].map((byte) => byte.toString(16).padStart(2, "0")).join("");
	return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** vCPU 0 at the kernel's first instruction. */
function enterKernel(vcpu: Vcpu, { entry }: BuiltDomain): void {
	const { registers } = vcpu;
	registers.rip = entry.rip;
	registers.set(Gpr.rsp, entry.rsp);
	registers.set(Gpr.rsi, entry.rsi);
	registers.rflags = entry.rflags;
	registers.setSelector(Segment.cs, entry.cs);
	registers.setSelector(Segment.ss, entry.ss);
	vcpu.kernelStackSelector = entry.kernelSs;
	vcpu.kernelStackPointer = entry.kernelSp;
	vcpu.vcpuInfo = initialVcpuInfo(vcpu);
	vcpu.initialised = true;
}

function removeDomain(domain: Domain): void {
	const { frames, domains, scheduler } = domain.hypervisor;
	domain.paused = true;
	scheduler.remove(domain);
	(domain.events as EventChannels | undefined)?.destroy();
	(domain.grants as GrantTable | undefined)?.destroy();
	domains.delete(domain.id);
	relinquishDomain(domain);
	if (domain.sharedInfoFrame !== 0) frames.releaseShared(domain.sharedInfoFrame);
	for (const vcpu of domain.vcpus) domain.hypervisor.releaseSlot(vcpu.slot);
}

function machineFull(file: string): ImageError {
	return new ImageError("not-enough-memory", file, "the machine has no memory left", "End another domain first");
}
