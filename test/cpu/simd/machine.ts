/** One page of code and one of data for a few instructions at a time: what the oracle cannot set (control registers) or needs no host for. */
import { createProcessor } from "../../../src/cpu/index.ts";
import * as layout from "../../../src/cpu/layout.ts";
import { type Environment, Exit, Vector } from "../../../src/cpu/processor.ts";
import { Registers } from "../../../src/cpu/registers.ts";
import { Memory } from "../../../src/memory/memory.ts";

const CODE = 0x40_0000;
export const DATA = 0x40_1000;
const PRESENT_USER_WRITABLE = 0x67;
const Frame = { l4: 1, l3: 2, l2: 3, l1: 4, code: 5, data: 6, count: 16 } as const;

const environment: Environment = {
	cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
	readTsc: () => 0,
	descriptor: () => undefined,
};

export class Machine {
	readonly memory = new Memory(Frame.count);
	readonly registers = new Registers(this.memory, layout.STATE);
	readonly data = this.memory.frame(Frame.data);
	private readonly processor = createProcessor(this.memory, environment);

	constructor() {
		const { memory, processor } = this;
		const map = (table: number, index: number, frame: number): void =>
			memory.setU64(memory.frame(table) + index * 8, frame * layout.PAGE_SIZE + PRESENT_USER_WRITABLE);
		map(Frame.l4, 0, Frame.l3);
		map(Frame.l3, 0, Frame.l2);
		map(Frame.l2, CODE >> 21, Frame.l1);
		map(Frame.l1, (CODE >> 12) & 511, Frame.code);
		map(Frame.l1, (DATA >> 12) & 511, Frame.data);
		processor.setRoot(0, Frame.l4);
		processor.setRoot(1, Frame.l4);
		processor.flushAll();
		this.registers.longMode = true;
		this.registers.cpl = 3;
		this.registers.addressSpace = 1;
	}

	get mxcsr(): number {
		return this.memory.u32(layout.STATE + layout.MXCSR);
	}
	set mxcsr(value: number) {
		this.memory.setU32(layout.STATE + layout.MXCSR, value);
	}

	xmm(register: number): bigint {
		const at = layout.STATE + layout.XMM + register * 16;
		return (this.memory.big(at + 8) << 64n) | this.memory.big(at);
	}
	setXmm(register: number, value: bigint): void {
		const at = layout.STATE + layout.XMM + register * 16;
		this.memory.setBig(at, value);
		this.memory.setBig(at + 8, value >> 64n);
	}

	/** Runs code given in hexadecimal. @returns the vector that it ended with, or "completed". */
	run(code: string): number | "completed" {
		const { memory, processor, registers } = this;
		const bytes = code.split(/\s+/).map((byte) => Number.parseInt(byte, 16));
		processor.codeChanged(Frame.code);
		memory.bytes.set([...bytes, 0xcc], memory.frame(Frame.code));
		registers.rip = CODE;
		const exit = processor.run(1000);
		if (exit === Exit.softwareInterrupt && registers.vector === Vector.breakpoint) return "completed";
		if (exit !== Exit.exception) throw new Error(`exit ${exit}`);
		return registers.vector;
	}
}
