/**
 * Machine frames that nobody owns, as bitmaps in linear memory. Two bits a frame: whether it is free, and whether it has been *touched*: an untouched
 * one is zero and in no TLB, and costs the host nothing, since a new WebAssembly.Memory is zero and takes as much memory as is written to. Touched frames
 * are given out first, and the lowest before others, so that the host's memory grows only when all that it has is in use. What lies side by side
 * is a run again as soon as it is free.
 *
 * Frames are counted by groups of 512, a run of the largest order: a search passes over groups that cannot have what it looks for.
 */
import { HYPERVISOR_DATA, MAX_FRAMES } from "../../memory/map.ts";
import type { Memory } from "../../memory/memory.ts";

/** The largest run that is looked for, as a power of two. */
export const LARGEST_ORDER = 9;
const GROUP = 2 ** LARGEST_ORDER;
const WORD = 32;
const GROUP_WORDS = GROUP / WORD;
const GROUPS = MAX_FRAMES / GROUP;

/** After what vcpu-block.ts keeps there: bits by frames, then counts by groups. */
const FREE_BITS = HYPERVISOR_DATA + 0x20_0000;
const TOUCHED_BITS = FREE_BITS + MAX_FRAMES / 8;
const FREE_COUNTS = TOUCHED_BITS + MAX_FRAMES / 8;
const TOUCHED_COUNTS = FREE_COUNTS + GROUPS * 2;
const LARGEST_RUNS = TOUCHED_COUNTS + GROUPS * 2;

/** Bits of a word that are set. */
function population(word: number): number {
	const pairs = word - ((word >>> 1) & 0x5555_5555);
	const quads = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
	return Math.imul((quads + (quads >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

function lowestBit(word: number): number {
	return 31 - Math.clz32(word & -word);
}

export class FreeFrames {
	/** Frames that are free, and how many of these have been touched. */
	count = 0;
	touched = 0;
	/** Frames that searches for runs have looked at. */
	private examined = 0;
	/** Bits of the frames that are free, and of those of them that have been touched. */
	private readonly freeBits: Int32Array;
	private readonly touchedBits: Int32Array;
	/** The same, counted by group. */
	private readonly freeCounts: Uint16Array;
	private readonly touchedCounts: Uint16Array;
	/** A group has no free run of a larger order than this. */
	private readonly largestRuns: Uint8Array;
	private readonly groups: number;
	/** No group below these has a free frame, or a touched one. */
	private firstFree = 0;
	private firstTouched = 0;

	/** All frames but number 0 are free and untouched. */
	constructor(memory: Memory) {
		const { buffer } = memory.wasm;
		this.groups = Math.ceil(memory.frames / GROUP);
		this.freeBits = new Int32Array(buffer, FREE_BITS, this.groups * GROUP_WORDS);
		this.touchedBits = new Int32Array(buffer, TOUCHED_BITS, this.groups * GROUP_WORDS).fill(0);
		this.freeCounts = new Uint16Array(buffer, FREE_COUNTS, this.groups).fill(0);
		this.touchedCounts = new Uint16Array(buffer, TOUCHED_COUNTS, this.groups).fill(0);
		this.largestRuns = new Uint8Array(buffer, LARGEST_RUNS, this.groups);
		this.freeBits.fill(0);
		for (let mfn = 1; mfn < memory.frames; mfn++) this.put(mfn, false);
	}

	/** Whether a free frame has been touched. */
	isTouched(mfn: number): boolean {
		return ((this.touchedBits[mfn >>> 5]! >>> (mfn & 31)) & 1) !== 0;
	}

	isFree(mfn: number): boolean {
		return ((this.freeBits[mfn >>> 5]! >>> (mfn & 31)) & 1) !== 0;
	}

	/** Adds a frame that is not free. */
	put(mfn: number, touched: boolean): void {
		const group = mfn >>> LARGEST_ORDER;
		this.freeBits[mfn >>> 5]! |= 1 << (mfn & 31);
		this.largestRuns[group] = 31 - Math.clz32(++this.freeCounts[group]!);
		this.count++;
		if (group < this.firstFree) this.firstFree = group;
		if (touched) this.setTouched(mfn);
	}

	/** Removes a frame that is free; whether it had been touched is asked before. */
	remove(mfn: number): void {
		const group = mfn >>> LARGEST_ORDER;
		if (this.isTouched(mfn)) this.clearTouched(mfn);
		this.freeBits[mfn >>> 5]! &= ~(1 << (mfn & 31));
		this.freeCounts[group]!--;
		this.count--;
	}

	private setTouched(mfn: number): void {
		const group = mfn >>> LARGEST_ORDER;
		this.touchedBits[mfn >>> 5]! |= 1 << (mfn & 31);
		this.touchedCounts[group]!++;
		this.touched++;
		if (group < this.firstTouched) this.firstTouched = group;
	}

	/** A free frame was found to be zero, and is in no TLB: it may be taken for an untouched one. */
	clearTouched(mfn: number): void {
		this.touchedBits[mfn >>> 5]! &= ~(1 << (mfn & 31));
		this.touchedCounts[mfn >>> LARGEST_ORDER]!--;
		this.touched--;
	}

	/** The frame to take next: the lowest touched one, or the lowest of all if there is none; undefined if none is free. */
	next(): number | undefined {
		if (this.count === 0) return undefined;
		const touched = this.touched !== 0;
		const counts = touched ? this.touchedCounts : this.freeCounts;
		const bits = touched ? this.touchedBits : this.freeBits;
		let group = touched ? this.firstTouched : this.firstFree;
		while (counts[group] === 0) group++;
		if (touched) this.firstTouched = group;
		else this.firstFree = group;
		let word = group * GROUP_WORDS;
		while (bits[word] === 0) word++;
		return word * WORD + lowestBit(bits[word]!);
	}

	/**
	 * Finds a run of 2^order free frames, aligned to its size. One that has been touched as a whole is preferred.
	 * @param untouched how many untouched frames it may have
	 * @returns its first frame
	 */
	findRun(order: number, untouched: number): number | undefined {
		const found = this.search(order, 0);
		return found !== undefined || untouched <= 0 ? found : this.search(order, untouched);
	}

	/** Frames that searches have looked at since this was last asked, for whoever accounts for that work. */
	takeExamined(): number {
		const { examined } = this;
		this.examined = 0;
		return examined;
	}

	private search(order: number, untouched: number): number | undefined {
		const size = 2 ** order;
		for (let group = 0; group < this.groups; group++) {
			if (this.largestRuns[group]! < order || this.touchedCounts[group]! + untouched < size) continue;
			this.examined += GROUP;
			let runs = false;
			for (let first = group * GROUP; first < (group + 1) * GROUP; first += size) {
				const free = this.countBits(this.freeBits, first, size) === size;
				runs ||= free;
				if (free && size - this.countBits(this.touchedBits, first, size) <= untouched) return first;
			}
			if (!runs) this.largestRuns[group] = order - 1;
		}
		return undefined;
	}

	/** Bits that are set among `count` from `first`, which are a word's aligned part or whole words. */
	private countBits(bits: Int32Array, first: number, count: number): number {
		if (count < WORD) return population((bits[first >>> 5]! >>> (first & 31)) & (2 ** count - 1));
		let sum = 0;
		for (let word = first / WORD; word < (first + count) / WORD; word++) sum += population(bits[word]!);
		return sum;
	}
}
