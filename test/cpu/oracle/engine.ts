/**
 * The emulated processor as an engine for cases: the addresses of records.ts mapped through page tables in machine frames, a descriptor table
 * like Linux's, user mode. Relies on src/cpu only through its public interface and the layout of a vCPU's context.
 */

import type { EngineOptions, Engine as ProcessorEngine } from "../../../src/cpu/engine.ts";
import * as layout from "../../../src/cpu/layout.ts";
import { type DescriptorLookup, type Environment, Exit, Vector } from "../../../src/cpu/processor.ts";
import { Flag, Registers, Segment } from "../../../src/cpu/registers.ts";
import type { CpuVendor } from "../../../src/cpu/vendor.ts";
import { Memory } from "../../../src/memory/memory.ts";
import {
	Case,
	type CaseBatch,
	CODE,
	CODE_BYTES,
	DATA,
	DATA_BYTES,
	FS_BASE,
	GS_BASE,
	NEVER_ENDS,
	READ_ONLY,
	READ_ONLY_BYTES,
	Result,
	SLOTS,
} from "./records.ts";

/** Runs batches of cases: the host (native.ts) or an emulated processor. */
export interface Engine {
	/** Results one after the other, as records.ts lays them out. */
	run(batch: CaseBatch): Promise<Uint8Array>;
}

/** src/cpu/index.ts, as far as it is used here. */
export interface ProcessorModule {
	createProcessor(memory: Memory, environment: Environment, options: EngineOptions): ProcessorEngine;
}

/** How cases are executed: by the interpreter, or in regions as far as the translator can hold them. */
export type CaseTier = "interpreter" | "translator";

const USER_DATA = 0x2b;
const USER_CODE_64 = 0x33;
const USER_CODE_32 = 0x23;

/** Linux's GDT up to the user segments, by index (arch/x86 documents its order; the selectors are user ABI). */
const DESCRIPTORS: Readonly<Record<number, DescriptorLookup>> = {
	1: { low: 0x0000_ffff, high: 0x00cf_9b00 },
	2: { low: 0x0000_ffff, high: 0x00af_9b00 },
	3: { low: 0x0000_ffff, high: 0x00cf_9300 },
	4: { low: 0x0000_ffff, high: 0x00cf_fb00 },
	5: { low: 0x0000_ffff, high: 0x00cf_f300 },
	6: { low: 0x0000_ffff, high: 0x00af_fb00 },
};
const GDT_ENTRIES = 16;

const environment: Environment = {
	cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
	readTsc: () => 0,
	descriptor(selector) {
		const index = selector >> 3;
		if ((selector & 4) !== 0 || index >= GDT_ENTRIES) return undefined;
		return DESCRIPTORS[index] ?? { low: 0, high: 0 };
	},
};

/** Machine frames of the page tables and of what they map. */
const Frame = { l4: 16, l3: 17, l2: 18, l1Data: 19, l1Code: 20, data: 32, readOnly: 35, code: 40 } as const;
const FRAMES = 64;
const PRESENT_USER = 0x25;
const WRITABLE = 0x42;

const CR0 = 0x8005_0033;
/** PAE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE. */
const CR4 = 0x5_06a0 & ~0x80;
const EFER = 0xd01;
/** Repeated instructions may take several goes; what needs more never ends. */
const FUEL = 20_600;
const WITH_ERROR_CODE: ReadonlySet<number> = new Set([8, 10, 11, 12, 13, 14, 17]);

export class EmulatedEngine implements Engine {
	private readonly memory = new Memory(FRAMES);
	private readonly processor: ProcessorEngine;
	private readonly registers: Registers;
	private readonly data: Uint8Array;
	private readonly code: Uint8Array;
	private readonly dataAt: number;
	private readonly codeAt: number;
	private output = new Uint8Array(1 << 20);
	private view = new DataView(this.output.buffer);
	private used = 0;

	/** Instructions of the last batch, by case. */
	readonly executed: number[] = [];

	constructor(
		module: ProcessorModule,
		readonly tier: CaseTier,
		vendor: CpuVendor,
	) {
		const { memory } = this;
		const options: EngineOptions = tier === "interpreter" ? { tier, vendor } : { tier: "both", hotCount: 2, vendor };
		this.processor = module.createProcessor(memory, environment, options);
		this.registers = new Registers(memory, layout.STATE);
		const entry = (table: number, index: number, frame: number, flags: number): void => {
			memory.setU64(memory.frame(table) + index * 8, frame * layout.PAGE_SIZE + flags);
		};
		entry(Frame.l4, 0, Frame.l3, PRESENT_USER | WRITABLE);
		entry(Frame.l3, 0, Frame.l2, PRESENT_USER | WRITABLE);
		entry(Frame.l2, DATA >> 21, Frame.l1Data, PRESENT_USER | WRITABLE);
		entry(Frame.l2, CODE >> 21, Frame.l1Code, PRESENT_USER | WRITABLE);
		const map = (table: number, address: number, frame: number, pages: number, flags: number): void => {
			for (let page = 0; page < pages; page++) {
				const index = ((address >> 12) & 511) + page;
				entry(table, index, frame + page, flags);
				// NX, but for the code.
				if (table !== Frame.l1Code) memory.setU32(memory.frame(table) + index * 8 + 4, 0x8000_0000);
			}
		};
		map(Frame.l1Data, DATA, Frame.data, DATA_BYTES / 4096, PRESENT_USER | WRITABLE);
		map(Frame.l1Data, READ_ONLY, Frame.readOnly, READ_ONLY_BYTES / 4096, PRESENT_USER);
		map(Frame.l1Code, CODE, Frame.code, CODE_BYTES / 4096, PRESENT_USER | WRITABLE);
		this.dataAt = memory.frame(Frame.data);
		this.codeAt = memory.frame(Frame.code);
		this.data = memory.bytes.subarray(this.dataAt, this.dataAt + DATA_BYTES);
		this.code = memory.bytes.subarray(this.codeAt, this.codeAt + CODE_BYTES);
		this.code.fill(INT3);
		this.processor.setRoot(0, Frame.l4);
		this.processor.setRoot(1, Frame.l4);
		this.processor.flushAll();
	}

	/** The project's own processor. */
	static async load(tier: CaseTier, vendor: CpuVendor): Promise<EmulatedEngine> {
		const path = new URL("../../../src/cpu/index.ts", import.meta.url).href;
		return new EmulatedEngine((await import(path)) as ProcessorModule, tier, vendor);
	}

	/** Instructions executed so far, and the share of them that ran in regions. */
	get statistics(): { readonly instructions: number; readonly translated: number } {
		return this.processor.statistics;
	}

	async run(batch: CaseBatch): Promise<Uint8Array> {
		const { memory, data } = this;
		this.used = 0;
		data.set(batch.background.subarray(0, DATA_BYTES));
		memory.bytes.set(batch.background.subarray(DATA_BYTES), memory.frame(Frame.readOnly));
		for (let index = 0; index < batch.count; index += SLOTS) {
			const end = Math.min(index + SLOTS, batch.count);
			this.putCode(batch, index, end);
			if (this.tier === "translator") this.translate(batch, index, end);
			for (let i = index; i < end; i++) {
				if (this.used + Result.maxBytes > this.output.length) this.grow();
				this.runCase(batch, i);
			}
		}
		return this.output.subarray(0, this.used);
	}

	/** Writes the code of a run of cases, each in its slot. */
	private putCode(batch: CaseBatch, from: number, to: number): void {
		for (let page = 0; page < CODE_BYTES / 4096; page++) this.processor.codeChanged(Frame.code + page);
		this.code.fill(INT3);
		for (let index = from; index < to; index++) {
			const at = batch.offset(index);
			const length = batch.view.getUint8(at + Case.codeLength);
			const offset = batch.view.getUint32(at + Case.rip, true) - CODE;
			this.code.set(batch.bytes.subarray(at + Case.code, at + Case.code + length), offset);
		}
	}

	private grow(): void {
		const output = new Uint8Array(this.output.length * 2);
		output.set(this.output);
		this.output = output;
		this.view = new DataView(output.buffer);
	}

	/** Makes regions of the cases' first instructions. */
	private translate(batch: CaseBatch, from: number, to: number): void {
		for (let index = from; index < to; index++) {
			const at = batch.offset(index);
			if (batch.view.getUint8(at + Case.step) !== 0) continue;
			this.load(batch, at);
			this.processor.requestTranslation();
		}
		this.processor.translateQueued();
	}

	/**
	 * Runs in one go, or in the translator's case now and then in small ones, which end within regions and begin anew in the midst of blocks;
	 * or with the TLB empty, so that accesses miss it in regions.
	 */
	private runAll(index: number): Exit {
		const { processor } = this;
		if (this.tier === "interpreter") return processor.run(FUEL);
		if (index % 8 === 5) processor.flushAll();
		if (index % 8 !== 6) return processor.run(FUEL);
		let exit: Exit = Exit.fuel;
		for (let left = FUEL; left > 0 && exit === Exit.fuel; left -= SLICE) exit = processor.run(SLICE);
		return exit;
	}

	/** Loads a case, runs it and appends its result. */
	runCase(batch: CaseBatch, index: number): void {
		const { processor, registers } = this;
		const at = batch.offset(index);
		const { view, bytes } = batch;
		const window = view.getUint32(at + Case.window, true);
		const windowContent = bytes.subarray(at + Case.windowContent, at + Case.windowContent + Case.windowBytes);
		this.data.set(windowContent, window);
		this.load(batch, at);

		const before = processor.executed;
		const exit = this.runAll(index);
		this.executed[index] = processor.executed - before;
		let vector = registers.vector;
		let error = registers.errorCode;
		if (exit === Exit.fuel) {
			vector = NEVER_ENDS;
			error = 0;
		} else if (exit === Exit.softwareInterrupt) {
			error = 0;
			// Linux opens only the gates of vectors 3 and 4 to user mode; the others are #GP with IDT set in the error code.
			if (vector !== Vector.breakpoint && vector !== Vector.overflow) {
				error = vector * 8 + 2;
				vector = Vector.generalProtection;
				registers.rip -= processor.interruptLength;
			}
		} else if (exit !== Exit.exception) {
			vector = 0xf0 + exit;
			error = 0;
		}
		if (!WITH_ERROR_CODE.has(vector)) error = 0;
		this.store(vector, error);
		this.changes(batch.background, window, windowContent);
	}

	private load(batch: CaseBatch, at: number): void {
		const { memory, registers } = this;
		const { view, bytes } = batch;
		const compatibility = view.getUint8(at + Case.mode) !== 0;
		const state = layout.STATE;
		memory.bytes.set(bytes.subarray(at + Case.gpr, at + Case.gpr + 128), state + layout.REGISTERS);
		memory.bytes.set(bytes.subarray(at + Case.xmm, at + Case.xmm + 256), state + layout.XMM);
		memory.setU32(state + layout.MXCSR, view.getUint32(at + Case.mxcsr, true));
		const status = view.getUint16(at + Case.x87Status, true);
		const top = (status >> 11) & 7;
		memory.setU16(state + layout.X87_CONTROL, view.getUint16(at + Case.x87Control, true));
		memory.setU16(state + layout.X87_STATUS, status & ~0x3800);
		memory.setU8(state + layout.X87_TOP, top);
		memory.setU8(state + layout.X87_TAGS, view.getUint8(at + Case.x87Tags));
		for (let i = 0; i < 8; i++) {
			const from = at + Case.st + i * 16;
			memory.bytes.set(bytes.subarray(from, from + 16), state + layout.X87_REGISTERS + ((top + i) & 7) * 16);
		}
		registers.rip = view.getUint32(at + Case.rip, true);
		registers.rflags = view.getUint32(at + Case.rflags, true) | (view.getUint8(at + Case.step) !== 0 ? Flag.TF : 0);
		registers.cr2 = 0;
		registers.cpl = 3;
		registers.addressSpace = 1;
		registers.longMode = !compatibility;
		for (const segment of [Segment.es, Segment.ss, Segment.ds]) {
			registers.setSelector(segment, USER_DATA);
			registers.setSegmentBase(segment, 0);
		}
		registers.setSelector(Segment.cs, compatibility ? USER_CODE_32 : USER_CODE_64);
		registers.setSegmentBase(Segment.cs, 0);
		registers.setSelector(Segment.fs, 0);
		registers.setSelector(Segment.gs, 0);
		registers.setHalves(layout.SLOT_FS_BASE, FS_BASE.low, FS_BASE.high);
		registers.setHalves(layout.SLOT_GS_BASE, GS_BASE.low, GS_BASE.high);
		registers.finishTransfer();
		registers.setControl(layout.CR0, CR0);
		registers.setControl(layout.CR4, CR4);
		registers.setControl(layout.EFER, EFER);
		registers.setControl(layout.XCR0, 3);
	}

	private store(vector: number, error: number): void {
		const { memory, registers, view, output } = this;
		const at = this.used;
		const state = layout.STATE;
		output.fill(0, at, at + Case.gpr);
		view.setUint32(at + Result.vector, vector, true);
		view.setUint32(at + Result.error, error, true);
		const copy = (to: number, from: number, bytes: number): void => {
			output.set(memory.bytes.subarray(from, from + bytes), at + to);
		};
		copy(Result.cr2, state + layout.CR2, 8);
		copy(Result.rip, state + layout.RIP, 8);
		view.setUint32(at + Result.rflags, registers.rflags, true);
		copy(Result.mxcsr, state + layout.MXCSR, 4);
		const top = memory.u8(state + layout.X87_TOP);
		view.setUint16(at + Result.x87Control, memory.u16(state + layout.X87_CONTROL), true);
		view.setUint16(at + Result.x87Status, memory.u16(state + layout.X87_STATUS) | (top << 11), true);
		view.setUint8(at + Result.x87Tags, memory.u8(state + layout.X87_TAGS));
		copy(Result.selectors, state + layout.SELECTORS, 12);
		copy(Result.fsBase, state + layout.SLOT_FS_BASE * 8, 8);
		copy(Result.gsBase, state + layout.SLOT_GS_BASE * 8, 8);
		copy(Result.gpr, state + layout.REGISTERS, 128);
		copy(Result.xmm, state + layout.XMM, 256);
		for (let i = 0; i < 8; i++) copy(Result.st + i * 16, state + layout.X87_REGISTERS + ((top + i) & 7) * 16, 16);
	}

	/** Appends the changed words of the data pages and restores them. */
	private changes(background: Uint8Array, window: number, windowContent: Uint8Array): void {
		const { data, view } = this;
		const expected = EXPECTED;
		expected.set(background.subarray(0, DATA_BYTES));
		expected.set(windowContent, window);
		let count = 0;
		let at = this.used + Result.bytes;
		if (Buffer.compare(data, expected) !== 0) {
			for (let word = 0; word < DATA_BYTES; word += 8) {
				const low = EXPECTED_VIEW.getUint32(word, true);
				const high = EXPECTED_VIEW.getUint32(word + 4, true);
				const newLow = this.memory.u32(this.dataAt + word);
				const newHigh = this.memory.u32(this.dataAt + word + 4);
				if (low === newLow && high === newHigh) continue;
				view.setUint32(at, word, true);
				view.setUint32(at + 4, 0, true);
				view.setUint32(at + 8, newLow, true);
				view.setUint32(at + 12, newHigh, true);
				at += 16;
				count++;
			}
			data.set(background.subarray(0, DATA_BYTES));
		} else {
			data.set(background.subarray(window, window + Case.windowBytes), window);
		}
		view.setUint32(this.used + Result.changes, count, true);
		this.used = at;
	}
}

/** A little more than the fast loop leaves to the exact one. */
const SLICE = 103;
const INT3 = 0xcc;
const EXPECTED = new Uint8Array(DATA_BYTES);
const EXPECTED_VIEW = new DataView(EXPECTED.buffer);
