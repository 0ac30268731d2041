/**
 * A processor that executes nothing: it walks page tables as the real one does, and each run is a step of a script that puts the
 * registers where an instruction would have left them. Tests of the hypervisor's half use it over real memory.
 */
import { CR2, ERROR_CODE, VECTOR } from "../../src/cpu/layout.ts";
import { Access, Exit, type Processor } from "../../src/cpu/processor.ts";
import type { Registers } from "../../src/cpu/registers.ts";
import type { CpuVendor } from "../../src/cpu/vendor.ts";
import { STATE } from "../../src/memory/map.ts";
import type { Memory } from "../../src/memory/memory.ts";

export type Step = () => Exit;

export class FakeProcessor implements Processor {
	executed = 0;
	readonly exitsHandled = 0;
	interruptShadow = false;
	vendor: CpuVendor = "intel";
	interruptLength = 2;
	readonly roots = [0, 0];
	readonly script: Step[] = [];
	/** Frames that codeChanged was called for. */
	readonly changed: number[] = [];

	constructor(readonly memory: Memory) {}

	run(fuel: number): Exit {
		const step = this.script.shift();
		if (step === undefined) {
			this.executed += fuel;
			return Exit.fuel;
		}
		this.executed++;
		return step();
	}

	/** It executes nothing: the store faults as it did. */
	runDiverted(): Exit {
		return Exit.exception;
	}
	switchContext(): void {}
	flushAll(): void {}
	flushSpace(): void {}
	flushLower(): void {}
	forgetFrame(): void {}
	flushPage(): void {}
	codeChanged(mfn: number): void {
		this.changed.push(mfn);
	}
	setRoot(addressSpace: number, mfn: number): void {
		this.roots[addressSpace] = mfn;
	}

	/** Linear address of the running context, whose CR2 tells of a failed translation. */
	context = STATE;

	translate(virtualAddress: number, access: Access, addressSpace: number): number {
		const linear = this.walk(virtualAddress, access, addressSpace);
		if (linear < 0) this.memory.setU64(this.context + CR2, virtualAddress);
		return linear;
	}

	private walk(virtualAddress: number, access: Access, addressSpace: number): number {
		const { memory } = this;
		const low = ((virtualAddress % 2 ** 32) + 2 ** 32) % 2 ** 32;
		const high = Math.floor(virtualAddress / 2 ** 32);
		if (high < -0x8000 || high > 0x7fff || !Number.isFinite(virtualAddress)) return -1;
		const indexes = [(high >> 7) & 511, ((high & 0x7f) << 2) | (low >>> 30), (low >>> 21) & 511, (low >>> 12) & 511];
		let mfn = this.roots[addressSpace] as number;
		let writable = true;
		if (mfn === 0) return -1;
		for (const index of indexes) {
			const entry = memory.frame(mfn) + index * 8;
			const word = memory.u32(entry);
			if ((word & 1) === 0) return -1;
			writable &&= (word & 2) !== 0;
			mfn = ((memory.u32(entry + 4) & 0xfffff) * 2 ** 20 + (word >>> 12)) >>> 0;
			if (mfn >= memory.frames) return -1;
		}
		if (access === Access.write && !writable) return -1;
		return memory.frame(mfn) + (low & 4095);
	}
}

/** What the processor leaves behind with an exception. */
export function raise(registers: Registers, memory: Memory, vector: number, errorCode = 0, cr2 = 0): Exit {
	memory.setU32(registers.base + VECTOR, vector);
	memory.setU32(registers.base + ERROR_CODE, errorCode);
	if (vector === 14) memory.setU64(registers.base + CR2, cr2);
	return Exit.exception;
}

/** What it leaves behind with INT n. */
export function interrupt(registers: Registers, memory: Memory, vector: number): Exit {
	memory.setU32(registers.base + VECTOR, vector);
	return Exit.softwareInterrupt;
}
