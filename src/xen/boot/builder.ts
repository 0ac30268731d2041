/**
 * The domain builder: turns a kernel, a ramdisk and a command line into an x86-64 PV domain in machine memory, ready for its
 * first instruction. The layout is public/xen.h's "Start-of-day memory layout" in the order in which libxenguest fills it.
 *
 *   virt_base                    pfn 0: everything up to the end of the mapping is pseudo-physical memory in order
 *     kernel segments            at virt_base + paddr - paddr_offset
 *     ramdisk                    unless the kernel has the note MOD_START_PFN
 *     p2m list                   unless the kernel has the note INIT_P2M
 *     start_info, xenstore ring, console ring, page tables (L4 first), boot stack
 *     at least 512 KiB of padding, to a 4 MiB boundary
 *   then, not in that mapping:   the ramdisk, and the p2m list with the page tables that map it at INIT_P2M
 *
 * It relies on the caller for what a frame is (owner, type, counts): it only says which frames are page tables, and at which level.
 */

import { ImageError } from "../../formats/errors.ts";
import { PAGE_SIZE } from "../../memory/map.ts";
import type { Memory } from "../../memory/memory.ts";
import { FLAT_RING3_CS64, FLAT_RING3_SS64 } from "../abi/arch.ts";
import { LEGACY_MAX_VCPUS, sharedInfo, vcpuInfo } from "../abi/shared-info.ts";
import { MAX_GUEST_CMDLINE, StartInfoFlag, startInfo } from "../abi/start-info.ts";
import { type DomainPlan, pagesOf, planDomain, toMebibytes } from "./domain-plan.ts";
import { fillHypercallPage } from "./hypercall-page.ts";
import type { KernelImage } from "./kernel.ts";
import { layOutKernel } from "./kernel-layout.ts";
import { requirePv } from "./notes.ts";
import { openRamdisk } from "./ramdisk.ts";

const GUEST_TYPE = "xen-3.0-x86_64";
/** RFLAGS at entry: IF, and the bit that is always set. */
const ENTRY_FLAGS = 0x202;

/** What the builder needs of the hypervisor. */
export interface DomainMemory {
	readonly memory: Memory;
	/** A zeroed frame that is the domain's from now on, or undefined where there is none left. */
	allocate(): number | undefined;
	/** Enters a frame into the machine-to-physical table. */
	setM2p(mfn: number, pfn: number): void;
}

export interface BuildRequest {
	readonly kernel: KernelImage;
	/** The ramdisk and its name for messages. A gzip-compressed one is unpacked, as libxenguest does. */
	readonly ramdisk?: { readonly bytes: Uint8Array; readonly file: string } | undefined;
	readonly commandLine: string;
	/** Pages of memory. */
	readonly pages: number;
	/** The frame that will be shared_info: zeroed, the hypervisor's own, shared with the domain; not among its pages. */
	readonly sharedInfoMfn: number;
	/** Ports that the caller has bound for the two rings. */
	readonly storePort: number;
	readonly consolePort: number;
}

/** One page of the domain and what is in it. */
export interface PageAt {
	readonly pfn: number;
	readonly mfn: number;
	/** Virtual address in the initial mapping. */
	readonly address: number;
}

/** Registers of vCPU 0 at the kernel's first instruction. All others are 0; DS, ES, FS and GS are null selectors. */
export interface EntryState {
	readonly rip: number;
	readonly rsp: number;
	/** Address of start_info. */
	readonly rsi: number;
	readonly rflags: number;
	readonly cs: number;
	readonly ss: number;
	/** Until the guest calls stack_switch: its kernel stack. */
	readonly kernelSs: number;
	readonly kernelSp: number;
}

export interface BuiltDomain {
	/** pfn to mfn, one entry for each page. */
	readonly p2m: Uint32Array;
	/** Every page table with its level; the first is the L4. */
	readonly pageTables: readonly { readonly level: number; readonly pfn: number; readonly mfn: number }[];
	/** The frame to pin as L4 and to load as CR3. */
	readonly rootMfn: number;
	readonly startInfo: PageAt;
	readonly store: PageAt;
	readonly console: PageAt;
	readonly sharedInfoMfn: number;
	/** Where the kernel has its hypercall page, if it names one; newer kernels do not. */
	readonly hypercallPage: PageAt | undefined;
	readonly entry: EntryState;
	/** [virtBase, mappedEnd) is the initial mapping, pfn 0 first. */
	readonly virtBase: number;
	readonly mappedEnd: number;
	readonly kernelStart: number;
	readonly kernelEnd: number;
	/** The ramdisk in the domain's memory: first pfn, bytes. */
	readonly ramdisk: { readonly pfn: number; readonly size: number } | undefined;
	/** The p2m list: its address, and its pfns including the tables that map it. */
	readonly p2mList: { readonly address: number; readonly pfn: number; readonly frames: number };
	/** The kernel is told of suspend cancellation (note SUSPEND_CANCEL). */
	readonly suspendCancel: boolean;
}

const encoder = new TextEncoder();

function encodeCommandLine(text: string): Uint8Array {
	const encoded = encoder.encode(text);
	if (encoded.length >= MAX_GUEST_CMDLINE || encoded.includes(0)) {
		throw new ImageError(
			"command-line-too-long",
			"command line",
			encoded.includes(0)
				? "it contains a NUL character"
				: `it has ${encoded.length} bytes and Xen passes at most ${MAX_GUEST_CMDLINE - 1}`,
			"Shorten what --append adds",
		);
	}
	return encoded;
}

/**
 * Builds a PV domain. Everything that can be wrong with the image, the ramdisk or the sizes is found before the first frame is
 * allocated; it throws an ImageError then. A machine that runs out of frames is an ImageError too, after frames were taken.
 */
export function buildDomain(target: DomainMemory, request: BuildRequest): BuiltDomain {
	const { kernel, pages } = request;
	const parameters = requirePv(kernel.elf);
	const layout = layOutKernel(kernel.elf, parameters);
	const commandLine = encodeCommandLine(request.commandLine);
	const ramdisk = request.ramdisk && openRamdisk(request.ramdisk.bytes, pages * PAGE_SIZE);
	const plan = planDomain({
		kernelFile: kernel.file,
		parameters,
		layout,
		pages,
		ramdisk: ramdisk && { size: ramdisk.length, file: request.ramdisk!.file },
	});

	const { memory } = target;
	const { virtBase } = layout;
	const p2m = allocateFrames(target, pages, kernel.file);
	for (const { offset, physical, size } of layout.segments) {
		writePages(memory, p2m, physical, kernel.elf.bytes.subarray(offset, offset + size));
	}
	if (plan.ramdisk !== undefined) writePages(memory, p2m, plan.ramdisk.pfn * PAGE_SIZE, ramdisk!);
	writeP2mList(memory, p2m, plan.p2mList.pfn);
	plan.tables.map(memory, p2m, virtBase, plan.mappedPages, 0);
	if (plan.p2mList.tables > 0) {
		plan.tables.map(memory, p2m, plan.p2mList.address, plan.p2mList.pages, plan.p2mList.pfn);
	}
	if (layout.hypercallPfn !== undefined) fillHypercallPage(memory, p2m[layout.hypercallPfn]!);
	writeStartInfo(memory, p2m, request, plan, virtBase, ramdisk?.length ?? 0);
	memory.bytes.set(commandLine, memory.frame(p2m[plan.startInfo]!) + startInfo.offset.cmdLine);
	initializeSharedInfo(memory, request.sharedInfoMfn);

	const page = (pfn: number): PageAt => ({ pfn, mfn: p2m[pfn]!, address: virtBase + pfn * PAGE_SIZE });
	const pageTables = plan.tables.tables.map(({ level, pfn }) => ({ level, pfn, mfn: p2m[pfn]! }));
	const stackTop = page(plan.stack).address + PAGE_SIZE;
	return {
		p2m,
		pageTables,
		rootMfn: pageTables[0]!.mfn,
		startInfo: page(plan.startInfo),
		store: page(plan.store),
		console: page(plan.console),
		sharedInfoMfn: request.sharedInfoMfn,
		hypercallPage: layout.hypercallPfn === undefined ? undefined : page(layout.hypercallPfn),
		entry: {
			rip: layout.entry,
			rsp: stackTop,
			rsi: page(plan.startInfo).address,
			rflags: ENTRY_FLAGS,
			cs: FLAT_RING3_CS64,
			ss: FLAT_RING3_SS64,
			kernelSs: FLAT_RING3_SS64,
			kernelSp: stackTop,
		},
		virtBase,
		mappedEnd: virtBase + plan.mappedPages * PAGE_SIZE,
		kernelStart: layout.start,
		kernelEnd: layout.end,
		ramdisk: plan.ramdisk && { pfn: plan.ramdisk.pfn, size: ramdisk!.length },
		p2mList: {
			address: plan.p2mList.address,
			pfn: plan.p2mList.pfn,
			frames: plan.p2mList.pages + plan.p2mList.tables,
		},
		suspendCancel: parameters.suspendCancel,
	};
}

function allocateFrames(target: DomainMemory, pages: number, file: string): Uint32Array {
	const p2m = new Uint32Array(pages);
	for (let pfn = 0; pfn < pages; pfn++) {
		const mfn = target.allocate();
		if (mfn === undefined) {
			throw new ImageError(
				"not-enough-memory",
				file,
				`the machine has no more than ${toMebibytes(pfn)} MiB left for the domain's ${toMebibytes(pages)} MiB`,
				"Give the domain less memory",
			);
		}
		p2m[pfn] = mfn;
		target.setM2p(mfn, pfn);
	}
	return p2m;
}

/** Writes at a pseudo-physical address; the frames need not lie side by side. */
function writePages(memory: Memory, p2m: Uint32Array, physical: number, data: Uint8Array): void {
	let done = 0;
	while (done < data.length) {
		const offset = (physical + done) % PAGE_SIZE;
		const count = Math.min(PAGE_SIZE - offset, data.length - done);
		const frame = memory.frame(p2m[Math.floor((physical + done) / PAGE_SIZE)]!);
		memory.bytes.set(data.subarray(done, done + count), frame + offset);
		done += count;
	}
}

/** The list of all mfns, 512 entries of eight bytes a page. The frames are zeroed, so the low halves are enough. */
function writeP2mList(memory: Memory, p2m: Uint32Array, first: number): void {
	for (let pfn = 0; pfn < p2m.length; pfn++) {
		memory.setU32(memory.frame(p2m[first + (pfn >>> 9)]!) + (pfn & 511) * 8, p2m[pfn]!);
	}
}

/** All of start_info but the command line. */
function writeStartInfo(
	memory: Memory,
	p2m: Uint32Array,
	request: BuildRequest,
	plan: DomainPlan,
	virtBase: number,
	ramdiskSize: number,
): void {
	const { ramdisk, p2mList } = plan;
	const info = startInfo.at(memory, memory.frame(p2m[plan.startInfo]!));
	memory.bytes.set(encoder.encode(GUEST_TYPE), info.magic);
	info.nrPages = p2m.length;
	info.sharedInfo = request.sharedInfoMfn * PAGE_SIZE;
	info.flags = StartInfoFlag.virtP2m4Tools;
	info.storeMfn = p2m[plan.store]!;
	info.storeEvtchn = request.storePort;
	info.consoleMfn = p2m[plan.console]!;
	info.consoleEvtchn = request.consolePort;
	info.ptBase = virtBase + plan.tables.tables[0]!.pfn * PAGE_SIZE;
	info.nrPtFrames = plan.mappingTables;
	info.mfnList = p2mList.address;
	if (p2mList.tables > 0) {
		info.firstP2mPfn = p2mList.pfn;
		info.nrP2mFrames = p2mList.pages + p2mList.tables;
	}
	if (ramdisk === undefined) return;
	if (ramdisk.address === undefined) info.flags |= StartInfoFlag.modStartPfn;
	info.modStart = ramdisk.address ?? ramdisk.pfn;
	// libxenguest counts whole pages here.
	info.modLen = pagesOf(ramdiskSize) * PAGE_SIZE;
}

/** As libxenguest leaves it: all zero, but every vCPU with its events masked. The wall clock is the hypervisor's to write. */
function initializeSharedInfo(memory: Memory, mfn: number): void {
	const page = memory.frame(mfn);
	memory.fill(page, PAGE_SIZE, 0);
	for (let vcpu = 0; vcpu < LEGACY_MAX_VCPUS; vcpu++) {
		memory.setU8(page + sharedInfo.offset.vcpuInfo + vcpu * vcpuInfo.size + vcpuInfo.offset.evtchnUpcallMask, 1);
	}
}
