/**
 * The files through which cases go to native.c and results come back: layouts of both, and where a case's code and data lie in its
 * address space. The same addresses are mapped on the emulated processor. native.c declares the same structures.
 */

// None of these addresses is near a power of two, which registers hold often.
/** Two writable pages of data; the page behind them is not mapped, so accesses can cross a page and cross into nothing. */
export const DATA = 0x1357_0000;
export const DATA_BYTES = 0x2000;
/** One page that can only be read. */
export const READ_ONLY = DATA + 0x3000;
export const READ_ONLY_BYTES = 0x1000;
/** Two writable, executable pages, full of INT3; the page behind them is not mapped. */
export const CODE = 0x2468_0000;
export const CODE_BYTES = 0x2000;
/**
 * The code pages are divided into slots: sixteen cases in a row, from a multiple of sixteen on, have one each and can be written together.
 * Within its slot a case's code lies so that short branches stay there.
 */
export const SLOTS = 16;
export const SLOT_BYTES = CODE_BYTES / SLOTS;

/** The slot of case `index`: a permutation within each sixteen. */
export function slotOf(index: number): number {
	return (index ^ (Math.imul(index >> 4, 0x9e37_79b1) >>> 28)) & (SLOTS - 1);
}

/** Bases of FS and GS, as halves: addresses that need a displacement to reach the data. GS has one in the upper half. */
export const FS_BASE = { low: DATA - 0x1000, high: 0 };
export const GS_BASE = { low: 0xffff_8000, high: 0xffff_ffff };

export const HEADER_BYTES = 64 + DATA_BYTES + READ_ONLY_BYTES;
const MAGIC = 0x6c63726f;

/** A case: what the processor is set to before it runs. */
export const Case = {
	bytes: 944,
	codeLength: 0,
	/** 0: 64-bit mode, 1: compatibility mode. */
	mode: 1,
	/** 1: ends after one instruction by TF; 0: by an INT3. */
	step: 2,
	mxcsr: 4,
	rip: 8,
	rflags: 16,
	x87Control: 24,
	x87Status: 26,
	/** Abridged, as in FXSAVE. */
	x87Tags: 28,
	code: 48,
	maxCode: 240,
	gpr: 288,
	xmm: 416,
	st: 672,
	/** Where the 128 bytes that follow are put into the data pages (offset, a multiple of 8). */
	window: 800,
	windowContent: 816,
	windowBytes: 128,
} as const;

/** A result: what the processor holds when the case has ended. Changes of memory follow: offset and value of eight-byte words. */
export const Result = {
	bytes: 640,
	vector: 0,
	error: 4,
	cr2: 8,
	rip: 16,
	rflags: 24,
	mxcsr: 32,
	x87Control: 36,
	x87Status: 38,
	x87Tags: 40,
	selectors: 48,
	fsBase: 64,
	gsBase: 72,
	changes: 80,
	gpr: 128,
	xmm: 256,
	st: 512,
	maxBytes: 640 + DATA_BYTES * 2,
} as const;

/** In place of a vector, for a case that does not end: no vector has this number. */
export const NEVER_ENDS = 0xff;

/** A batch of cases in the form of the file that native.c reads. */
export class CaseBatch {
	readonly buffer: ArrayBuffer;
	readonly bytes: Uint8Array;
	readonly view: DataView;
	/** Contents of the data pages and the read-only page before each case's window is put in. */
	readonly background: Uint8Array;
	count = 0;

	constructor(
		readonly capacity: number,
		background: Uint8Array,
	) {
		this.buffer = new ArrayBuffer(HEADER_BYTES + capacity * Case.bytes);
		this.bytes = new Uint8Array(this.buffer);
		this.view = new DataView(this.buffer);
		this.background = this.bytes.subarray(64, HEADER_BYTES);
		this.background.set(background);
		const { view } = this;
		view.setUint32(0, MAGIC, true);
		view.setUint32(8, DATA, true);
		view.setUint32(16, READ_ONLY, true);
		view.setUint32(24, CODE, true);
		view.setUint32(32, FS_BASE.low, true);
		view.setUint32(36, FS_BASE.high, true);
		view.setUint32(40, GS_BASE.low, true);
		view.setUint32(44, GS_BASE.high, true);
	}

	/** Where a case starts in {@link bytes}. */
	offset(index: number): number {
		return HEADER_BYTES + index * Case.bytes;
	}

	/** The batch as a file, with its count. */
	file(): Uint8Array {
		this.view.setUint32(4, this.count, true);
		return this.bytes.subarray(0, this.offset(this.count));
	}
}

/** Bytes that a result takes, from its start in `view`. */
export function resultLength(view: DataView, offset: number): number {
	return Result.bytes + view.getUint32(offset + Result.changes, true) * 16;
}
