/**
 * One case while it is made: writes registers, memory and code into a batch, and remembers what later steps and the masks of undefined
 * results need to know of the instruction.
 */
import { Case, type CaseBatch, CODE, DATA, DATA_BYTES } from "./records.ts";

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

export class CaseWriter {
	/** Where the case starts in the batch's bytes. */
	base = 0;
	readonly view: DataView;

	constructor(readonly batch: CaseBatch) {
		this.view = batch.view;
	}

	/** Starts case `index`: everything zero. */
	begin(index: number): void {
		this.base = this.batch.offset(index);
		this.batch.bytes.fill(0, this.base, this.base + Case.bytes);
	}

	/** Where a general register lies. */
	gprAt(register: number): number {
		return this.base + Case.gpr + register * 8;
	}
	setGpr(register: number, low: number, high: number): void {
		const at = this.gprAt(register);
		this.view.setInt32(at, low, true);
		this.view.setInt32(at + 4, high, true);
	}
	low(register: number): number {
		return this.view.getInt32(this.gprAt(register), true);
	}
	high(register: number): number {
		return this.view.getInt32(this.gprAt(register) + 4, true);
	}
	copyGpr(to: number, from: number): void {
		this.setGpr(to, this.low(from), this.high(from));
	}

	get compatibility(): boolean {
		return this.view.getUint8(this.base + Case.mode) === 1;
	}
	/** The address of the code, within the code pages. */
	get rip(): number {
		return this.view.getUint32(this.base + Case.rip, true);
	}

	/** Moves the window of own contents so that it surrounds an offset into the data pages; `before` bytes lie before it. */
	window(offset: number, before: number): void {
		const last = DATA_BYTES - Case.windowBytes;
		const start = Math.max(0, Math.min(last, (offset - before) & ~7));
		this.view.setUint32(this.base + Case.window, start, true);
	}
	get windowStart(): number {
		return this.view.getUint32(this.base + Case.window, true);
	}
	/** Where the byte of the window for a data offset lies in the batch, or -1 where fewer than `bytes` of it are in the window. */
	windowAt(offset: number, bytes: number): number {
		const within = offset - this.windowStart;
		if (within < 0 || within + bytes > Case.windowBytes) return -1;
		return this.base + Case.windowContent + within;
	}

	/** Appends code; where it would leave the mapped pages it is cut off, as fetching it will be. */
	append(bytes: Uint8Array, length: number): void {
		const at = this.base + Case.codeLength;
		const used = this.view.getUint8(at);
		const room = Math.min(Case.maxCode - used, CODE + 0x2000 - (this.rip + used));
		const kept = Math.max(0, Math.min(length, room));
		this.batch.bytes.set(bytes.subarray(0, kept), this.base + Case.code + used);
		this.view.setUint8(at, used + kept);
	}
}

/** The data offset of an address, or -1 when its first byte is outside the data pages. */
export function dataOffset(low: number, high: number): number {
	const offset = (low >>> 0) - DATA;
	return high === 0 && offset >= 0 && offset < DATA_BYTES ? offset : -1;
}
