/**
 * Creates a PV domain on a machine, as libxl does: frames, tables, event channels, vCPUs, its nodes in the store, its console; and takes
 * it off the machine again. Relies on the domain builder (xen/boot/) for what is in the frames.
 */
import { attachConsole } from "../backends/console/console.ts";
import { Gpr, Segment } from "../cpu/registers.ts";
import { PAGE_SIZE } from "../memory/map.ts";
import { StoreClient } from "../store/client.ts";
import { removeDomainNodes, writeDomainNodes } from "../store/domain-nodes.ts";
import { homePath } from "../store/path.ts";
import { RESERVED_CONSOLE, RESERVED_XENSTORE } from "../xen/abi/grant-table.ts";
import { type BuiltDomain, buildDomain, codeNames, ImageError, openKernel } from "../xen/boot/index.ts";
import type { Domain } from "../xen/domain.ts";
import { EventChannels } from "../xen/events/events.ts";
import { GrantTable } from "../xen/grants/grants.ts";
import { setMemoryMapLimit } from "../xen/hypercalls/memory.ts";
import { initialVcpuInfo } from "../xen/hypercalls/vcpu.ts";
import { relinquishDomain } from "../xen/mm/relinquish.ts";
import { adoptInitialTables } from "../xen/mm/roots.ts";
import type { Vcpu } from "../xen/vcpu.ts";
import { ToolstackError } from "./errors.ts";
import { type Machine, SERVICE_DOMAIN } from "./machine.ts";
import { slackPages } from "./memory.ts";
import type { GuestRequest } from "./options.ts";
import { formatUuid, newUuid } from "./uuid.ts";

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

/** Mappings of foreign grants in a frame of Xen's maptrack (max_maptrack_frames). */
const MAPPINGS_PER_FRAME = 256;

/**
 * Builds a guest; it runs as soon as the scheduler does, unless it is to be paused.
 * @throws ImageError where its images cannot be booted or the machine has not enough memory; ToolstackError where it has no room for the
 * vCPUs.
 */
export function buildGuest(machine: Machine, request: GuestRequest): BuiltGuest {
	const { hypervisor, storeServer } = machine;
	const domain = hypervisor.createDomain(request.name);
	domain.symbolAt = lazySymbols(request);
	domain.handle.set(request.uuid ?? newUuid(hypervisor.clock.deterministic, domain.id));
	hypervisor.scheduler.setParameters(domain, request.scheduling.weight, request.scheduling.cap);
	if (request.paused) hypervisor.scheduler.pause(domain);
	const store = new StoreClient(storeServer, homePath(domain.id));
	let closeConsole: () => void = () => {};
	const destroy = (): void => {
		closeConsole();
		storeServer.release(domain.id);
		removeDomainNodes(machine.store, domain.id);
		// Those who watch it have been told that it is gone.
		store.unwatchAll();
		removeDomain(domain);
	};
	try {
		const { consolePort, storePort } = populate(machine, domain, request);
		if (storeServer.introduce(domain.id, storePort) !== undefined) {
			throw new Error("the store of a new domain cannot be attached");
		}
		const backend = attachConsole(machine.service, domain, consolePort, request);
		if (backend === undefined) throw new Error("the console of a new domain cannot be attached");
		closeConsole = () => backend.close();
		const write = (data: Uint8Array): void => backend.write(data);
		return {
			domain,
			store,
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
function populate(machine: Machine, domain: Domain, request: GuestRequest): GuestPorts {
	const { frames, memory, scheduler } = domain.hypervisor;
	const { image, maximumEventChannels, maximumGrantFrames, maximumMaptrackFrames } = request;
	const pages = Math.floor(request.memory / PAGE_SIZE);
	const sharedInfoMfn = frames.allocateShared(domain.id);
	if (sharedInfoMfn === undefined) throw machineFull(image.file);
	domain.sharedInfoFrame = sharedInfoMfn;
	domain.maximumPages = pages + slackPages;
	setMemoryMapLimit(domain, Math.floor(request.maximumMemory / PAGE_SIZE) * PAGE_SIZE);
	domain.events = new EventChannels(
		domain,
		maximumEventChannels === undefined ? {} : { maximumPort: maximumEventChannels },
	);
	domain.grants = new GrantTable(domain, {
		...(maximumGrantFrames === undefined ? {} : { maximumFrames: maximumGrantFrames }),
		...(maximumMaptrackFrames === undefined ? {} : { maximumMappings: maximumMaptrackFrames * MAPPINGS_PER_FRAME }),
	});
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
	for (let index = 0; index < request.maximumVcpus; index++) {
		if (domain.addVcpu() === undefined) {
			throw new ToolstackError(
				"out-of-range",
				`The machine has no room for ${request.maximumVcpus} more vCPUs`,
				"Give the domain fewer vCPUs, or end another",
			);
		}
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
	writeDomainNodes(machine.store, {
		domid: domain.id,
		name: domain.name,
		uuid: formatUuid(domain.handle),
		memory: (Math.floor(request.memory / PAGE_SIZE) * PAGE_SIZE) / 1024,
		maximumMemory: (Math.floor(request.maximumMemory / PAGE_SIZE) * PAGE_SIZE) / 1024,
		vcpus: request.maximumVcpus,
		onlineVcpus: request.vcpus,
		...ports,
		storeFrame: built.store.mfn,
		consoleFrame: built.console.mfn,
		kernel: request.kernelName,
		ramdisk: request.ramdisk && request.ramdiskName,
		commandLine: request.commandLine,
		startTime: (clock.wallClockBase + clock.now()) / 1e9,
	});
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

/** Takes a domain off the machine: everything that it had is free, but for frames that others map until they let go of them. */
export function removeDomain(domain: Domain): void {
	const { frames, domains, scheduler } = domain.hypervisor;
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
