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
import { PAGE_SIZE } from "../../cpu/layout.ts";
import type { Memory } from "../../cpu/memory.ts";
import { FLAT_RING3_CS64, FLAT_RING3_SS64 } from "../abi/arch.ts";
import { LEGACY_MAX_VCPUS, sharedInfo, vcpuInfo } from "../abi/shared-info.ts";
import { MAX_GUEST_CMDLINE, StartInfoFlag, startInfo } from "../abi/start-info.ts";
import { ImageError } from "./errors.ts";
import { fillHypercallPage } from "./hypercall-page.ts";
import type { KernelImage } from "./kernel.ts";
import { layOutKernel } from "./kernel-layout.ts";
import { requirePv } from "./notes.ts";
import { TableSet } from "./page-tables.ts";
import { openRamdisk } from "./ramdisk.ts";

const MEBIBYTE = 1024 * 1024;
const MAPPING_ALIGN = 4 * MEBIBYTE;
const PADDING_PAGES = (512 * 1024) / PAGE_SIZE;
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

/** Hands out the domain's pfns in order, and knows what to say when they run out. */
class PfnAllocator {
	next = 0;

	constructor(
		private readonly pages: number,
		private readonly kernelFile: string,
		private readonly virtBase: number,
	) {}

	/** Virtual address of the next pfn in the initial mapping. */
	get address(): number {
		return this.virtBase + this.next * PAGE_SIZE;
	}

	/** @returns the first of `count` pfns. Throws an ImageError where the domain has not as many left. */
	take(count: number, error: (needed: number) => ImageError = (needed) => this.tooSmall(needed)): number {
		const first = this.next;
		if (first + count > this.pages) throw error(first + count);
		this.next += count;
		return first;
	}

	tooSmall(needed: number): ImageError {
		return new ImageError(
			"not-enough-memory",
			this.kernelFile,
			`it needs ${toMebibytes(needed)} MiB to start and the domain has ${toMebibytes(this.pages)} MiB`,
			`Give the domain more memory: --memory ${suggestedMemory(needed)}`,
		);
	}
}

function toMebibytes(pages: number): number {
	return Math.ceil((pages * PAGE_SIZE) / MEBIBYTE);
}

/** What starts needs room to run too: twice as much, rounded to something that one would type. */
function suggestedMemory(pages: number): string {
	return `${Math.max(128, Math.ceil((toMebibytes(pages) * 2) / 64) * 64)}M`;
}

function pagesOf(size: number): number {
	return Math.ceil(size / PAGE_SIZE);
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
	const { virtBase, initP2m } = layout;

	// Who lies where, in pfns.
	const pfns = new PfnAllocator(pages, kernel.file, virtBase);
	const placeRamdisk = (): number =>
		pfns.take(pagesOf(ramdisk!.length), (needed) => ramdiskTooLarge(request, ramdisk!.length, needed));
	pfns.take(layout.firstPfn);
	pfns.take(pagesOf(layout.end - layout.start));
	let ramdiskPfn = -1;
	let ramdiskAddress = 0;
	if (ramdisk !== undefined && !parameters.modStartPfn) {
		ramdiskAddress = pfns.address;
		ramdiskPfn = placeRamdisk();
	}
	const p2mPages = pagesOf(pages * 8);
	let p2mAddress = pfns.address;
	let p2mPfn = initP2m === undefined ? pfns.take(p2mPages) : -1;
	const startInfoPfn = pfns.take(1);
	const storePfn = pfns.take(1);
	const consolePfn = pfns.take(1);

	const tables = new TableSet();
	const mappedEnd = endOfMapping(tables, virtBase, pfns.address, layout.highest, () => pfns.tooSmall(pages + 1));
	const ownTables = tables.missing(virtBase, mappedEnd);
	tables.place(ownTables, pfns.take(ownTables.length));
	const stackPfn = pfns.take(1);
	const mappedPages = (mappedEnd - virtBase) / PAGE_SIZE;
	pfns.take(mappedPages - pfns.next);

	if (ramdisk !== undefined && parameters.modStartPfn) ramdiskPfn = placeRamdisk();
	let p2mFrames = p2mPages;
	if (initP2m !== undefined) {
		p2mAddress = initP2m;
		const p2mTables = tables.missing(initP2m, initP2m + p2mPages * PAGE_SIZE);
		p2mPfn = pfns.take(p2mPages + p2mTables.length);
		tables.place(p2mTables, p2mPfn + p2mPages);
		p2mFrames += p2mTables.length;
	}

	// Frames, and what is in them.
	const { memory } = target;
	const p2m = allocateFrames(target, pages, kernel.file);
	const writer = new GuestWriter(memory, p2m);
	for (const { offset, physical, size } of layout.segments) {
		writer.write(physical, kernel.elf.bytes.subarray(offset, offset + size));
	}
	if (ramdisk !== undefined) writer.write(ramdiskPfn * PAGE_SIZE, ramdisk);
	for (let pfn = 0; pfn < pages; pfn++) {
		memory.setU32(memory.frame(p2m[p2mPfn + (pfn >>> 9)]!) + (pfn & 511) * 8, p2m[pfn]!);
	}
	tables.map(memory, p2m, virtBase, mappedPages, 0);
	if (initP2m !== undefined) tables.map(memory, p2m, initP2m, p2mPages, p2mPfn);

	const page = (pfn: number): PageAt => ({ pfn, mfn: p2m[pfn]!, address: virtBase + pfn * PAGE_SIZE });
	const hypercallPage = layout.hypercallPfn === undefined ? undefined : page(layout.hypercallPfn);
	if (hypercallPage !== undefined) fillHypercallPage(memory, hypercallPage.mfn);

	const info = startInfo.at(memory, memory.frame(p2m[startInfoPfn]!));
	memory.bytes.set(encoder.encode(GUEST_TYPE), info.magic);
	info.nrPages = pages;
	info.sharedInfo = request.sharedInfoMfn * PAGE_SIZE;
	info.flags = StartInfoFlag.virtP2m4Tools;
	info.storeMfn = p2m[storePfn]!;
	info.storeEvtchn = request.storePort;
	info.consoleMfn = p2m[consolePfn]!;
	info.consoleEvtchn = request.consolePort;
	info.ptBase = page(ownTables.length > 0 ? tables.tables[0]!.pfn : 0).address;
	info.nrPtFrames = ownTables.length;
	info.mfnList = p2mAddress;
	if (initP2m !== undefined) {
		info.firstP2mPfn = p2mPfn;
		info.nrP2mFrames = p2mFrames;
	}
	if (ramdisk !== undefined) {
		if (parameters.modStartPfn) info.flags |= StartInfoFlag.modStartPfn;
		info.modStart = parameters.modStartPfn ? ramdiskPfn : ramdiskAddress;
		// libxenguest counts whole pages here.
		info.modLen = pagesOf(ramdisk.length) * PAGE_SIZE;
	}
	memory.bytes.set(commandLine, info.cmdLine);
	initializeSharedInfo(memory, request.sharedInfoMfn);

	const stack = virtBase + (stackPfn + 1) * PAGE_SIZE;
	return {
		p2m,
		pageTables: tables.tables.map(({ level, pfn }) => ({ level, pfn, mfn: p2m[pfn]! })),
		rootMfn: p2m[tables.tables[0]!.pfn]!,
		startInfo: page(startInfoPfn),
		store: page(storePfn),
		console: page(consolePfn),
		sharedInfoMfn: request.sharedInfoMfn,
		hypercallPage,
		entry: {
			rip: layout.entry,
			rsp: stack,
			rsi: page(startInfoPfn).address,
			rflags: ENTRY_FLAGS,
			cs: FLAT_RING3_CS64,
			ss: FLAT_RING3_SS64,
			kernelSs: FLAT_RING3_SS64,
			kernelSp: stack,
		},
		virtBase,
		mappedEnd,
		kernelStart: layout.start,
		kernelEnd: layout.end,
		ramdisk: ramdisk && { pfn: ramdiskPfn, size: ramdisk.length },
		p2mList: { address: p2mAddress, pfn: p2mPfn, frames: p2mFrames },
		suspendCancel: parameters.suspendCancel,
	};
}

function ramdiskTooLarge(request: BuildRequest, size: number, needed: number): ImageError {
	return new ImageError(
		"ramdisk-too-large",
		request.ramdisk!.file,
		`the ramdisk of ${toMebibytes(pagesOf(size))} MiB (unpacked) does not fit into the domain's ` +
			`${toMebibytes(request.pages)} MiB beside the kernel`,
		`Use a smaller ramdisk, or give the domain more memory: --memory ${suggestedMemory(needed)}`,
	);
}

/**
 * End of the initial mapping: room for the tables that map it, the stack and the padding, up to a 4 MiB boundary. More room can need
 * more tables, hence the loop; `used` is the end of what lies below the tables.
 */
function endOfMapping(
	tables: TableSet,
	virtBase: number,
	used: number,
	highest: number,
	tooSmall: () => ImageError,
): number {
	let extra = 1 + PADDING_PAGES;
	for (;;) {
		const end = Math.floor((used + extra * PAGE_SIZE) / MAPPING_ALIGN) * MAPPING_ALIGN + MAPPING_ALIGN;
		if (end > highest) throw tooSmall();
		extra = tables.missing(virtBase, end).length + 1 + PADDING_PAGES;
		if (used + extra * PAGE_SIZE <= end) return end;
	}
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

/** Writes at pseudo-physical addresses, whose frames need not lie side by side. */
class GuestWriter {
	constructor(
		private readonly memory: Memory,
		private readonly p2m: Uint32Array,
	) {}

	write(physical: number, data: Uint8Array): void {
		let done = 0;
		while (done < data.length) {
			const offset = (physical + done) % PAGE_SIZE;
			const count = Math.min(PAGE_SIZE - offset, data.length - done);
			const frame = this.memory.frame(this.p2m[Math.floor((physical + done) / PAGE_SIZE)]!);
			this.memory.bytes.set(data.subarray(done, done + count), frame + offset);
			done += count;
		}
	}
}

/** As libxenguest leaves it: all zero, but every vCPU with its events masked. The wall clock is the hypervisor's to write. */
function initializeSharedInfo(memory: Memory, mfn: number): void {
	const page = memory.frame(mfn);
	memory.fill(page, PAGE_SIZE, 0);
	for (let vcpu = 0; vcpu < LEGACY_MAX_VCPUS; vcpu++) {
		memory.setU8(page + sharedInfo.offset.vcpuInfo + vcpu * vcpuInfo.size + vcpuInfo.offset.evtchnUpcallMask, 1);
	}
}
