/**
 * Machine frames: who owns each, what it may be used for, and how often it is. The rules are Xen's: a frame is at any time of one type (a page
 * table of some level, a page of segment descriptors, or writable), and a type is held while anything uses it. The table's layout is in
 * mm/frame-info.ts; types, and the references of tables' entries, are the business of mm/page-types.ts and mm/tables.ts.
 */
import { FRAME_HAS_CODE } from "../../cpu/layout.ts";
import type { Processor } from "../../cpu/processor.ts";
import type { HypervisorLog } from "../../machine/log.ts";
import { FRAME_FLAGS, FRAMES, PAGE_SIZE } from "../../memory/map.ts";
import type { Memory } from "../../memory/memory.ts";
import { DOMID_INVALID, DOMID_XEN } from "../abi/domid.ts";
import type { Domain } from "../domain.ts";
import { createTableFunctions, type TableFunctions } from "../pv/fast/tables.ts";
import { SHARED, shared } from "../vcpu-block.ts";
import * as info from "./frame-info.ts";
import { FrameType } from "./frame-info.ts";
import { FreeFrames } from "./free-frames.ts";
import { MachineToPhysical } from "./m2p.ts";
import * as types from "./page-types.ts";

/** What the frame table needs of the hypervisor around it. */
export interface FrameHost {
	readonly processor: Processor;
	readonly log: HypervisorLog;
	readonly domains: ReadonlyMap<number, Domain>;
}

/** Work of one hypercall before it is preempted, in entries of L1 tables looked at: about a millisecond. */
const WORK_SLICE = 1 << 17;
/** What kind of a line in the log a guest's mistake is. */
const COMPLAINT = { level: "warning", guest: true } as const;
/** Lines that one domain's mistakes may add to the log. */
const COMPLAINT_LIMIT = 200;
/** More frames than this, and a flush forgets everything. */
const STALE_LIMIT = 16;
const DOMAIN_IDS = 0x8000;
/** Index of the TLB epoch in {@link FrameTable.words}. */
const EPOCH = (SHARED + shared.offset.epoch) / 4;

export class FrameTable {
	/** The whole memory as words; an index is a linear address divided by four. */
	readonly words: Uint32Array;
	/** Machine frames, used or not. */
	readonly frames: number;
	readonly machineToPhysical: MachineToPhysical;
	readonly tables: TableFunctions;
	/** Work that the running hypercall may still do, and what each gets; see {@link startWork}. */
	work = WORK_SLICE;
	workSlice = WORK_SLICE;
	/** Work of hypercalls that nobody has asked for yet; see {@link takeWork}. */
	private workDone = 0;
	private readonly unowned: FreeFrames;
	private readonly ownedFrames = new Uint32Array(DOMAIN_IDS);
	private readonly complaints = new Uint16Array(DOMAIN_IDS);

	constructor(
		readonly memory: Memory,
		readonly host: FrameHost,
	) {
		this.words = new Uint32Array(memory.wasm.buffer);
		this.frames = memory.frames;
		this.epoch = 1;
		const head = info.INFO_BASE;
		this.words[head + info.REFERENCES] = info.ALLOCATED | 1;
		this.words[head + info.OWNER] = DOMID_XEN;
		this.words[head + info.END] = 1;
		this.unowned = new FreeFrames(memory);
		this.tables = createTableFunctions(memory);
		this.machineToPhysical = new MachineToPhysical(this);
	}

	/** Number of the TLB epoch: a flush of everything starts a new one. A frame stamped with an older one is in no TLB. */
	get epoch(): number {
		return this.words[EPOCH]!;
	}
	set epoch(number: number) {
		this.words[EPOCH] = number;
	}

	/** Index in {@link words} of a frame's entry. The caller has checked that mfn < frames. */
	info(mfn: number): number {
		return info.INFO_BASE + mfn * info.INFO_WORDS;
	}

	/** Index in {@link words} of entry `slot` of the page table in a frame. */
	entry(mfn: number, slot: number): number {
		return FRAMES / 4 + mfn * (PAGE_SIZE / 4) + slot * 2;
	}

	/** Whether the machine has such a frame. */
	exists(mfn: number): boolean {
		return mfn >= 0 && mfn < this.frames;
	}

	/** Starts a hypercall's share of work. */
	startWork(): void {
		// Work without limit is the toolstack's, and counted for nobody.
		if (this.work <= this.workSlice) this.workDone += this.workSlice - this.work;
		this.work = this.workSlice;
	}

	/** Work that hypercalls have done since this was last asked: about as many instructions of a guest take as long. */
	takeWork(): number {
		this.startWork();
		const done = this.workDone;
		this.workDone = 0;
		return done;
	}

	/** Frames that nobody owns. */
	get free(): number {
		return this.unowned.count;
	}

	/** Of the frames that nobody owns, those that may have been written to: what the host has memory for. */
	get touched(): number {
		return this.unowned.touched;
	}

	/** Frames that a domain owns, without those of the hypervisor's heap that it shares. */
	owned(owner: number): number {
		return this.ownedFrames[owner] ?? 0;
	}

	/** Takes a zeroed frame for `owner` (a domain id), or undefined where the machine has none left. */
	allocate(owner: number): number | undefined {
		const mfn = this.take();
		if (mfn === undefined) return undefined;
		this.assign(mfn, owner);
		return mfn;
	}

	/**
	 * Takes 2^order zeroed frames in a row, aligned to their size; returns the first.
	 * @param untouched how many of them may be such as the host has no memory for yet
	 */
	allocateContiguous(owner: number, order: number, untouched = Number.POSITIVE_INFINITY): number | undefined {
		if (order === 0) return this.allocate(owner);
		const first = this.unowned.findRun(order, untouched);
		this.work -= this.unowned.takeExamined();
		if (first === undefined) return undefined;
		for (let mfn = first; mfn < first + 2 ** order; mfn++) {
			this.claim(mfn);
			this.assign(mfn, owner);
		}
		return first;
	}

	/**
	 * Takes a zeroed frame of the hypervisor's heap that `owner` may map, and that it cannot give away (shared_info, grant table). It stays until
	 * {@link releaseShared}, and as long as the owner maps it.
	 */
	allocateShared(owner: number, writable = true): number | undefined {
		const mfn = this.take();
		if (mfn === undefined) return undefined;
		const at = this.info(mfn);
		// One reference for the owner, one for the hypervisor; the type is held for good.
		this.words[at + info.REFERENCES] = info.ALLOCATED | info.XEN_HEAP | 2;
		this.words[at + info.TYPE] = (writable ? FrameType.writable : FrameType.none) | info.VALIDATED | 1;
		this.words[at + info.OWNER] = owner;
		return mfn;
	}

	/** Gives back a frame of {@link allocateShared}; the owner's mappings keep it until they are gone. */
	releaseShared(mfn: number): void {
		types.putPageType(this, mfn);
		this.releaseAllocated(mfn);
		this.putPage(mfn);
	}

	/** The owner's domain id, or undefined. */
	owner(mfn: number): number | undefined {
		if (!this.exists(mfn)) return undefined;
		const at = this.info(mfn);
		return (this.words[at + info.REFERENCES]! & info.REFERENCE_COUNT) === 0 ? undefined : this.words[at + info.OWNER];
	}

	/** Visits all frames of an owner, those of the hypervisor's heap too, with the index of their entries in {@link words}. */
	forEachOf(owner: number, visit: (mfn: number, at: number) => void): void {
		const end = this.words[info.INFO_BASE + info.END]!;
		for (let mfn = 1; mfn < end; mfn++) {
			const at = this.info(mfn);
			if ((this.words[at + info.REFERENCES]! & info.REFERENCE_COUNT) === 0) continue;
			if (this.words[at + info.OWNER] === owner) visit(mfn, at);
		}
	}

	/** Visits the frames that a domain owns, without those of the hypervisor's heap. */
	forEachOwned(owner: number, visit: (mfn: number) => void): void {
		this.forEachOf(owner, (mfn, at) => {
			if ((this.words[at + info.REFERENCES]! & info.XEN_HEAP) === 0) visit(mfn);
		});
	}

	references(mfn: number): number {
		return this.words[this.info(mfn) + info.REFERENCES]! & info.REFERENCE_COUNT;
	}
	type(mfn: number): FrameType {
		return ((this.words[this.info(mfn) + info.TYPE]! & info.TYPE_MASK) >>> 0) as FrameType;
	}
	typeCount(mfn: number): number {
		return this.words[this.info(mfn) + info.TYPE]! & info.TYPE_COUNT;
	}
	pinned(mfn: number): boolean {
		return (this.words[this.info(mfn) + info.TYPE]! & info.PINNED) !== 0;
	}
	/** Whether a frame is in use as `type`, checked and complete. */
	isValid(mfn: number, type: FrameType): boolean {
		const word = this.words[this.info(mfn) + info.TYPE]!;
		return (word & (info.TYPE_MASK | info.VALIDATED)) >>> 0 === type + info.VALIDATED && (word & info.TYPE_COUNT) !== 0;
	}

	/** Whether there is such a frame and it is `owner`'s. */
	isOwned(mfn: number, owner: number): boolean {
		if (!this.exists(mfn)) return false;
		const at = this.info(mfn);
		return (this.words[at + info.REFERENCES]! & info.REFERENCE_COUNT) !== 0 && this.words[at + info.OWNER] === owner;
	}

	/** Takes a reference to a frame of `owner`; false where there is no such frame, it has another owner, or the count is full. */
	getPage(mfn: number, owner: number): boolean {
		if (!this.isOwned(mfn, owner)) return false;
		const at = this.info(mfn);
		if ((this.words[at + info.REFERENCES]! & info.REFERENCE_COUNT) >= info.REFERENCE_COUNT - 2) return false;
		this.words[at + info.REFERENCES]!++;
		return true;
	}

	/** Drops a reference; the last one frees the frame. */
	putPage(mfn: number): void {
		const at = this.info(mfn);
		const left = this.words[at + info.REFERENCES]! - 1;
		this.words[at + info.REFERENCES] = left;
		if ((left & info.REFERENCE_COUNT) === 0) this.release(mfn);
	}

	/** See {@link types.getPageType}. */
	getPageType(mfn: number, type: FrameType): types.TypeResult {
		return types.getPageType(this, mfn, type);
	}
	/** Drops a use of a frame that is no page table. */
	putPageType(mfn: number): void {
		types.putPageType(this, mfn);
	}
	/** A reference and a writable use: what mapping or writing a frame of `owner` needs. */
	getWritable(mfn: number, owner: number): boolean {
		return types.getPageAndType(this, mfn, owner, FrameType.writable) === 0;
	}
	putPageAndType(mfn: number): void {
		types.putPageAndType(this, mfn);
	}

	/** Drops the owner's own reference (the frame is given up); false where it was dropped before. */
	releaseAllocated(mfn: number): boolean {
		const at = this.info(mfn);
		const word = this.words[at + info.REFERENCES]!;
		if ((word & info.ALLOCATED) === 0) return false;
		this.words[at + info.REFERENCES] = word & ~info.ALLOCATED;
		this.putPage(mfn);
		return true;
	}

	/** Pseudo-physical frame number of a machine frame, or -1 where it has none. */
	m2p(mfn: number): number {
		return this.machineToPhysical.get(mfn);
	}
	setM2p(mfn: number, pfn: number): void {
		this.machineToPhysical.set(mfn, pfn);
	}

	/** An upper entry that leads to a guest kernel's pages has changed since the last {@link flushAll}. */
	kernelMappingsChanged = false;
	/** Frames whose mappings for a guest's kernel have changed since a guest last asked for a flush. */
	private readonly staleFrames: number[] = [];

	/** A mapping of the frame for a guest's kernel is about to change. */
	noteStaleFrame(mfn: number): void {
		if (this.staleFrames.length < STALE_LIMIT) this.staleFrames.push(mfn);
		else this.kernelMappingsChanged = true;
	}

	/** Forgets every translation, and starts a new epoch. */
	flushAll(): void {
		this.host.processor.flushAll();
		this.kernelMappingsChanged = false;
		this.staleFrames.length = 0;
		this.epoch = (this.epoch + 1) >>> 0;
	}

	/**
	 * The flush that a guest asks for: all translations of its programs' half, and of its kernel's half those that may have changed. The rest of that
	 * half maps what the tables say.
	 */
	flushChanged(): void {
		if (this.kernelMappingsChanged) {
			this.flushAll();
			return;
		}
		const { processor } = this.host;
		processor.flushLower();
		for (const mfn of this.staleFrames) processor.forgetFrame(mfn);
		this.staleFrames.length = 0;
	}

	/** Forgets the translations to one frame: cheaper than an epoch's end where many others are in use. */
	forget(mfn: number): void {
		this.host.processor.forgetFrame(mfn);
	}

	/** To be called before the hypervisor changes a frame's bytes. */
	contentsChange(mfn: number): void {
		if ((this.memory.bytes[FRAME_FLAGS + mfn]! & FRAME_HAS_CODE) !== 0) this.host.processor.codeChanged(mfn);
	}

	/** Logs a guest's mistake; of one that makes too many, no more. */
	complain(domainId: number, text: string): void {
		const count = this.complaints[domainId] ?? COMPLAINT_LIMIT;
		if (count >= COMPLAINT_LIMIT) return;
		this.complaints[domainId] = count + 1;
		this.host.log.write(`d${domainId} ${text}`, COMPLAINT);
		if (count + 1 === COMPLAINT_LIMIT) this.host.log.write(`d${domainId} further messages suppressed`, COMPLAINT);
	}

	/** Takes all references from a frame whose only one is its owner's, so that it can get another owner. False where it has more. */
	steal(mfn: number, owner: number): boolean {
		if (!this.exists(mfn)) return false;
		const at = this.info(mfn);
		if (this.words[at + info.REFERENCES] !== info.ALLOCATED + 1 || this.words[at + info.OWNER] !== owner) return false;
		this.words[at + info.REFERENCES] = 0;
		this.ownedFrames[owner]!--;
		return true;
	}

	/** Gives a stolen frame back to its owner. Its type stays: it tells whether a TLB may still let the frame be written. */
	restore(mfn: number, owner: number): void {
		this.words[this.info(mfn) + info.REFERENCES] = info.ALLOCATED | 1;
		this.ownedFrames[owner]!++;
	}

	/** Frees a frame without references: a stolen one, or the one that has just lost its last. */
	discard(mfn: number): void {
		const at = this.info(mfn);
		this.words[at + info.REFERENCES] = 0;
		this.words[at + info.TYPE] = 0;
		this.words[at + info.OWNER] = DOMID_INVALID;
		this.words[at + info.STAMP] = this.epoch;
		this.machineToPhysical.invalidate(mfn);
		this.unowned.put(mfn, true);
	}

	private release(mfn: number): void {
		const at = this.info(mfn);
		if ((this.words[at + info.REFERENCES]! & info.XEN_HEAP) === 0) this.ownedFrames[this.words[at + info.OWNER]!]!--;
		this.discard(mfn);
	}

	private assign(mfn: number, owner: number): void {
		const at = this.info(mfn);
		this.words[at + info.REFERENCES] = info.ALLOCATED | 1;
		this.words[at + info.TYPE] = 0;
		this.words[at + info.OWNER] = owner;
		this.ownedFrames[owner]!++;
	}

	/** A zeroed frame, no longer free, without owner. */
	private take(): number | undefined {
		const mfn = this.unowned.next();
		if (mfn !== undefined) this.claim(mfn);
		return mfn;
	}

	/** Takes a frame from those that are free. One that may have been touched is zeroed, and no TLB has it any longer. */
	private claim(mfn: number): void {
		const touched = this.unowned.isTouched(mfn);
		this.unowned.remove(mfn);
		const head = info.INFO_BASE;
		if (mfn >= this.words[head + info.END]!) this.words[head + info.END] = mfn + 1;
		if (!touched) return;
		if (this.words[this.info(mfn) + info.STAMP] === this.epoch) this.forget(mfn);
		this.contentsChange(mfn);
		// To write zeros over zeros would cost the host a page if it has none there.
		if (!this.tables.isZero(mfn)) this.memory.fill(this.memory.frame(mfn), PAGE_SIZE, 0);
	}

	/** Sorts out which of some frames, free or not, were never written to. No TLB may have them ({@link flushAll}). */
	findUntouched(mfns: readonly number[]): void {
		for (const mfn of mfns) {
			if (!this.unowned.isFree(mfn) || !this.unowned.isTouched(mfn) || !this.tables.isZero(mfn)) continue;
			this.contentsChange(mfn);
			this.unowned.clearTouched(mfn);
		}
	}

	/** Frames that the hypervisor keeps for itself, before any are given out: `count` from `first`. */
	reserve(first: number, count: number): void {
		for (let mfn = first; mfn < first + count; mfn++) {
			this.claim(mfn);
			const at = this.info(mfn);
			this.words[at + info.REFERENCES] = info.ALLOCATED | info.XEN_HEAP | 1;
			this.words[at + info.OWNER] = DOMID_XEN;
		}
	}
}
