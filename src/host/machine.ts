/**
 * Puts the layers together: a hypervisor with this project's processor, and a guest on it with its frames, its console and its
 * first vCPU. The only place that knows all of them.
 */
import { attachConsole } from "../backends/console/console.ts";
import { createProcessor } from "../cpu/engine.ts";
import { PAGE_SIZE } from "../cpu/layout.ts";
import { Memory } from "../cpu/memory.ts";
import { Gpr, Segment } from "../cpu/registers.ts";
import { RESERVED_CONSOLE } from "../xen/abi/grant-table.ts";
import {
	type BuiltDomain,
	buildDomain,
	ImageError,
	type KernelImage,
	openKernel,
	symbolsFromKernel,
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
	/** Input for its console. */
	write(data: Uint8Array): void;
	/** Bytes of it that wait. */
	pendingInput(): number;
	/** Hands on what the guest has written and nobody has fetched yet. */
	flush(): void;
	/** Takes the domain off the machine and frees what it had. */
	destroy(): void;
}

/** PF_X of an ELF segment. */
const EXECUTABLE = 1;
/** Domain 0, to which guests grant their rings. */
const SERVICE_DOMAIN = 0;

/** What a machine needs beside its guests' memory: M2P (8 bytes a frame), shared pages, grant tables. */
export function machineOverhead(guestBytes: number): number {
	return Math.ceil(guestBytes / 512) + 8 * 2 ** 20;
}

export function createMachine(frames: number, clock: "real" | "deterministic", platform: Platform): Machine {
	const hypervisor = createHypervisor({
		memory: new Memory(frames),
		createProcessor: (memory, environment) =>
			createProcessor(memory, environment, { tier: process.env["PV_TIER"] === "interpreter" ? "interpreter" : "both" }),
		createClock: (processor) =>
			clock === "real" ? new RealClock(() => platform.milliseconds()) : new DeterministicClock(processor),
		scheduler: { hostMilliseconds: () => platform.milliseconds() },
	});
	return { hypervisor, service: new ServiceDomain(hypervisor) };
}

/**
 * Builds a guest; it runs as soon as the scheduler does.
 * @throws ImageError where its images cannot be booted or the machine has not enough memory.
 */
export function buildGuest(machine: Machine, request: GuestRequest): BuiltGuest {
	const image = openKernel(request.kernel, request.kernelName);
	const { hypervisor } = machine;
	const domain = hypervisor.createDomain(request.name);
	domain.symbolAt = lazySymbols(request);
	let closeConsole: () => void = () => {};
	const destroy = (): void => {
		closeConsole();
		removeDomain(domain);
	};
	try {
		const consolePort = populate(domain, image, request);
		const backend = attachConsole(machine.service, domain, consolePort, request);
		if (backend === undefined) throw new Error("the console of a new domain cannot be attached");
		closeConsole = () => backend.close();
		const write = (data: Uint8Array): void => backend.write(data);
		return { domain, write, pendingInput: () => backend.pendingInput, flush: () => backend.handleEvent(), destroy };
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
		if (find === undefined) {
			const { elf } = openKernel(kernel, kernelName);
			const symbols = symbolsFromKernel(elf);
			const code = elf.segments.filter(({ flags }) => (flags & EXECUTABLE) !== 0);
			find = (inner) => {
				const isCode = code.some(
					({ virtualAddress, memorySize }) => inner >= virtualAddress && inner < virtualAddress + memorySize,
				);
				return isCode && symbols.lookup(inner) !== undefined ? symbols.format(inner) : undefined;
			};
		}
		return find(address);
	};
}

/** Gives a new domain its frames, tables, event channels and vCPUs. @returns the port of its console. */
function populate(domain: Domain, image: KernelImage, request: GuestRequest): number {
	const { frames, memory, scheduler } = domain.hypervisor;
	const pages = Math.floor(request.memory / PAGE_SIZE);
	const sharedInfoMfn = frames.allocateShared(domain.id);
	if (sharedInfoMfn === undefined) throw machineFull(image.file);
	domain.sharedInfoFrame = sharedInfoMfn;
	domain.maximumPages = pages;
	domain.events = new EventChannels(domain);
	domain.grants = new GrantTable(domain);
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
			// There is no xenstore yet, and a guest that is told of one waits for its answers.
			storePort: 0,
			consolePort,
		},
	);
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
	return consolePort;
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
