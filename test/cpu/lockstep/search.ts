/**
 * Finds the instruction at which regions and single steps part, within one stretch of guest code: the machine's memory and registers are put
 * back to the stretch's beginning again and again, and it is run for as many instructions by regions and by single steps.
 */
import { decode, newDecoded } from "../../../src/cpu/decode/decoder.ts";
import type { Engine } from "../../../src/cpu/engine.ts";
import { MARGIN } from "../../../src/cpu/interpreter/module.ts";
import * as layout from "../../../src/cpu/layout.ts";
import { Access, Exit } from "../../../src/cpu/processor.ts";
import { Flag } from "../../../src/cpu/registers.ts";
import { LONGEST_WAY } from "../../../src/cpu/translator/region.ts";
import { VENDOR_BEHAVIOUR } from "../../../src/cpu/vendor.ts";
import { GPR_NAMES } from "../oracle/compare.ts";
import { disassemble } from "../oracle/report.ts";
import { memoryDigest, registerDigest, registersOf } from "./machine.ts";

/** No region runs more instructions than this without looking at its fuel. */
const LONGEST_BLOCK = 60;
const INT3 = 0xcc;

type Run = (fuel: number) => Exit;

/** The first instruction that differs; or the block that does, where no instruction of it differs by itself. */
export interface Culprit {
	readonly address: number;
	readonly symbol: string | undefined;
	readonly bytes: Uint8Array;
	/** As the table names it, and as objdump writes it. */
	readonly mnemonic: string;
	readonly disassembly: string;
	/** Instructions executed before it. */
	readonly executed: number;
	/** Whether this very instruction differs when the block ends with it. */
	readonly exact: boolean;
	/** The instructions from the beginning of its block on, and registers, for a person. */
	readonly report: string;
}

/** What the machine was at the beginning of the stretch. */
class Snapshot {
	private readonly frames: Uint8Array;
	private readonly state: Uint8Array;
	private readonly executed: number;

	constructor(private readonly engine: Engine) {
		const { memory } = engine;
		this.frames = memory.bytes.slice(layout.FRAMES, layout.FRAMES + memory.frames * layout.PAGE_SIZE);
		this.state = memory.bytes.slice(layout.STATE, layout.STATE + layout.CONTEXT_SIZE);
		this.executed = engine.executed;
	}

	/** Puts it back. What was translated stays, unless its bytes have changed. */
	restore(): void {
		const { engine } = this;
		const { memory } = engine;
		for (let mfn = 0; mfn < memory.frames; mfn++) {
			if ((memory.u8(layout.FRAME_FLAGS + mfn) & layout.FRAME_HAS_CODE) === 0) continue;
			const at = mfn * layout.PAGE_SIZE;
			const now = memory.bytes.subarray(layout.FRAMES + at, layout.FRAMES + at + layout.PAGE_SIZE);
			if (Buffer.compare(now, this.frames.subarray(at, at + layout.PAGE_SIZE)) !== 0) engine.codeChanged(mfn);
		}
		memory.bytes.set(this.frames, layout.FRAMES);
		memory.bytes.set(this.state, layout.STATE);
		// The count is where deterministic time comes from.
		(engine as unknown as { instructions: number }).instructions = this.executed;
		engine.flushAll();
	}
}

export class StretchSearch {
	private readonly snapshot: Snapshot;

	/** To be made before the stretch runs. `run` is the processor's own. */
	constructor(
		private readonly engine: Engine,
		private readonly run: Run,
		private readonly symbolAt: (address: number) => string | undefined,
	) {
		this.snapshot = new Snapshot(engine);
	}

	/** Single steps only. @returns why it ended early, or Exit.fuel. */
	private step(count: number): Exit {
		for (let done = 0; done < count; done++) {
			const exit = this.run(1);
			if (exit !== Exit.fuel) return exit;
		}
		return Exit.fuel;
	}

	private digest(): string {
		return `${registerDigest(this.engine)} ${memoryDigest(this.engine)}`;
	}

	private differAfter(count: number): boolean {
		this.snapshot.restore();
		this.step(count);
		const expected = this.digest();
		this.snapshot.restore();
		this.run(count);
		return this.digest() !== expected;
	}

	/** @param fuel of the stretch. @returns undefined where running it again does not show the difference again. */
	find(fuel: number): Culprit | undefined {
		const start = this.engine.executed;
		this.run(fuel);
		// An exit's own instruction may count: two more than were executed.
		let bad = Math.min(fuel, this.engine.executed - start + 2 + MARGIN);
		if (!this.differAfter(bad)) return undefined;
		let good = 0;
		while (bad - good > 1) {
			const middle = (good + bad) >>> 1;
			if (this.differAfter(middle)) bad = middle;
			else good = middle;
		}
		// A region looks at its fuel where it is entered and where a loop starts again: with one less it was left to single steps.
		let inexact: Culprit | undefined;
		for (let before = Math.max(0, bad - LONGEST_WAY); before < bad; ) {
			const { culprit, length } = this.withinBlock(before);
			if (culprit.exact) return culprit;
			inexact ??= culprit;
			before += Math.max(1, length);
		}
		return inexact;
	}

	/** Moves to the block's beginning by single steps. */
	private goTo(before: number): void {
		this.snapshot.restore();
		this.step(before);
	}

	/** Looks for the culprit in the block that begins after `before` instructions, `length` instructions long. */
	private withinBlock(before: number): { readonly culprit: Culprit; readonly length: number } {
		const { engine } = this;
		this.goTo(before);
		const trace: Instruction[] = [];
		const states: string[] = [this.registers()];
		const digests: number[] = [];
		for (let count = 0; count < LONGEST_BLOCK; count++) {
			const instruction = instructionAt(engine);
			if (instruction === undefined) break;
			const { executed } = engine;
			const exit = this.run(1);
			if (exit !== Exit.fuel) break;
			trace.push({ ...instruction, executed });
			states.push(this.registers());
			digests.push(this.stateDigest());
			if (registersOf(engine).rip !== instruction.address + instruction.bytes.length) break;
		}
		for (let count = 1; count <= trace.length; count++) {
			const got = this.prefix(before, trace, count);
			if (got === undefined || got.digest === digests[count - 1]) continue;
			const culprit = this.describe(trace, count - 1, true, states[count - 1]!, states[count]!, got.registers);
			return { culprit, length: trace.length };
		}
		return { culprit: this.describe(trace, 0, false, states[0]!, states.at(-1)!, undefined), length: trace.length };
	}

	/** Registers and memory, without the count of instructions, which INT3 ends differently. */
	private stateDigest(): number {
		const { engine } = this;
		const { executed } = engine;
		(engine as unknown as { instructions: number }).instructions = 0;
		const digest = registerDigest(engine) ^ Number.parseInt(memoryDigest(engine).slice(0, 8), 16);
		(engine as unknown as { instructions: number }).instructions = executed;
		return digest;
	}

	/** The block's first `count` instructions in a region of their own: an INT3 stands behind them meanwhile. */
	private prefix(
		before: number,
		trace: readonly Instruction[],
		count: number,
	): { readonly digest: number; readonly registers: string } | undefined {
		const { engine } = this;
		const { memory } = engine;
		const last = trace[count - 1]!;
		this.goTo(before + count);
		const registers = registersOf(engine);
		const stop = registers.rip;
		const linear = engine.translate(stop, Access.execute, registers.addressSpace);
		// A branch into the block itself would be cut off.
		const within = trace.slice(0, count).some(({ address }) => address === stop);
		if (linear < 0 || within) return undefined;
		void last;
		this.goTo(before);
		const frame = memory.frameAt(linear);
		const kept = memory.u8(linear);
		engine.codeChanged(frame);
		memory.setU8(linear, INT3);
		engine.requestTranslation();
		engine.translateQueued();
		const exit = this.run(LONGEST_WAY + MARGIN);
		const got = registersOf(engine);
		if (exit === Exit.softwareInterrupt && got.rip === stop + 1) got.rip = stop;
		engine.codeChanged(frame);
		memory.setU8(linear, kept);
		return { digest: this.stateDigest(), registers: this.registers() };
	}

	private registers(): string {
		const registers = registersOf(this.engine);
		const hex = (value: bigint): string => value.toString(16).padStart(16, "0");
		const lines: string[] = [];
		for (let i = 0; i < 16; i += 4) {
			lines.push(
				GPR_NAMES.slice(i, i + 4)
					.map((name, n) => `${name.padEnd(3)} ${hex(registers.big(i + n))}`)
					.join("  "),
			);
		}
		lines.push(`rip ${hex(BigInt.asUintN(64, BigInt(registers.rip)))}  rflags ${flags(registers.rflags)}`);
		return lines.map((line) => `    ${line}`).join("\n");
	}

	private describe(
		trace: readonly Instruction[],
		index: number,
		exact: boolean,
		before: string,
		expected: string,
		got: string | undefined,
	): Culprit {
		const { longMode } = registersOf(this.engine);
		const shown = trace.map(({ address, bytes }, at) => {
			const text = disassemble(bytes, address, !longMode).join("; ");
			const mark = at === index && exact ? ">" : " ";
			return `  ${mark} ${this.place(address)}  ${Buffer.from(bytes).toString("hex").padEnd(22)} ${text}`;
		});
		const { address, bytes, mnemonic, executed } = trace[index]!;
		const disassembly = disassemble(bytes, address, !longMode).join("; ");
		const title = exact
			? `First different instruction: ${disassembly} (${mnemonic}), ${Buffer.from(bytes).toString("hex")} at ${this.place(address)}`
			: `First different block, of which no beginning differs by itself, at ${this.place(address)}`;
		const report = [
			`${title}, after ${executed} instructions`,
			"  its block:",
			...shown,
			"  before:",
			before,
			"  expected after:",
			expected,
			...(got === undefined ? [] : ["  got:", got]),
		].join("\n");
		return { address, symbol: this.symbolAt(address), bytes, mnemonic, disassembly, executed, exact, report };
	}

	private place(address: number): string {
		const symbol = this.symbolAt(address);
		return `0x${BigInt.asUintN(64, BigInt(address)).toString(16)}${symbol === undefined ? "" : ` (${symbol})`}`;
	}
}

interface Instruction {
	readonly address: number;
	readonly bytes: Uint8Array;
	readonly mnemonic: string;
	readonly executed: number;
}

/** The instruction at RIP; undefined where it cannot be fetched or crosses a page. */
function instructionAt(engine: Engine): Omit<Instruction, "executed"> | undefined {
	const { memory } = engine;
	const registers = registersOf(engine);
	const address = registers.rip;
	const linear = engine.translate(address, Access.execute, registers.addressSpace);
	if (linear < 0) return undefined;
	const decoded = newDecoded(VENDOR_BEHAVIOUR[engine.vendor]);
	const end = memory.frame(memory.frameAt(linear) + 1);
	if (!decode(memory.bytes, linear, end, registers.longMode, decoded) || decoded.form === undefined) return undefined;
	return { address, bytes: memory.bytes.slice(linear, linear + decoded.length), mnemonic: decoded.form.name };
}

function flags(rflags: number): string {
	const names = ["OF", "DF", "IF", "TF", "SF", "ZF", "AF", "PF", "CF"] as const;
	const set: Readonly<Record<string, number>> = { ...Flag, AF: 0x10 };
	return names.filter((name) => (rflags & set[name]!) !== 0).join(" ");
}
