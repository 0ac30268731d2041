/**
 * Random control-flow graphs of instructions: what the translator makes regions of. Blocks end in conditional jumps on every condition, forward and
 * backward, in loops with counters, calls, returns and indirect jumps; some write to their own code. Backward edges count a register
 * down that no other instruction touches, so every case ends.
 */
import type { InstructionForm } from "../../../src/cpu/semantics/table.ts";
import { type CaseWriter, RBP, RSP } from "./case.ts";
import type { Encoder } from "./encode.ts";
import type { Random } from "./random.ts";
import { Case, CODE_BYTES, DATA, DATA_BYTES, SLOT_BYTES, SLOTS } from "./records.ts";
import { conditionFlags, definesFlags, UndefinedAlong } from "./sequences.ts";
import { flagMask, mnemonic } from "./undefined.ts";

/** They set or use the flags, move data in all widths, or change parts of registers. */
const INTEGER =
	/^(add|adc|sub|sbb|inc|dec|cmp|test|and|or|xor|neg|not|sh[lr]|sar|ro[lr]|rc[lr]|set.*|cmov.*|mov|movzx|movsxd?|lea|xchg|xadd|bt[src]?|i?mul|lahf|sahf|cmc|stc|clc|push|pop|cbw|cwd|popcnt|crc32)$/;
/** They end a case, or nearly always fault with registers that were not made for them. */
const NEVER =
	/^(cli|sti|int|int3|into|bound|hlt|in|out|ins|outs|lldt|ltr|lgdt|lidt|lmsw|invlpg|xsetbv|clts|invd|wbinvd|wrmsr|rdmsr|swapgs|ud[0-2]|lsl|verr|verw|arpl|fxsave|fxrstor|emms)$/;
const SELDOM = /^(i?div|movs|stos|lods|scas|(wr|rd)[fg]sbase|enter|leave|xlat|ldmxcsr|cmpxchg8b|maskmov.*|aam)$/;

const ADDRESS_LIMIT = 40;

type EndingKind = "next" | "jcc" | "jmp" | "back" | "tail" | "counted" | "rcx" | "indirect" | "call" | "return";
const ENDINGS: readonly EndingKind[] = [
	..."next jcc jcc jcc jcc jcc jmp back back back tail tail counted rcx indirect call return".split(" "),
] as EndingKind[];

interface PlannedBlock {
	/** Indices of forms. */
	readonly forms: readonly number[];
	readonly ending: EndingKind;
	/** Condition code of a jump, 0-15. */
	readonly condition: number;
}

export interface GraphPlan {
	readonly blocks: readonly PlannedBlock[];
}

/** Draws graphs from a list of forms. */
export class GraphPlanner {
	private readonly integer: number[] = [];
	private readonly any: number[] = [];

	constructor(
		private readonly forms: readonly InstructionForm[],
		excluded: (form: InstructionForm) => boolean,
	) {
		for (const [index, form] of forms.entries()) {
			const name = mnemonic(form);
			const privileged = form.operands.some(({ kind }) => kind === "control" || kind === "debug");
			if (excluded(form) || privileged || NEVER.test(name) || !new UndefinedAlong().allows(name)) continue;
			this.any.push(index);
			if (INTEGER.test(name)) this.integer.push(index);
		}
	}

	plan(random: Random): GraphPlan {
		const { forms, integer, any } = this;
		const blocks: PlannedBlock[] = [];
		const count = random.between(2, 7);
		// Flags that may be undefined wherever a block begins, since it may be reached from any other.
		const loose = flagMask(random.once(2) ? "AF" : "AF OF");
		for (let block = 0; block < count; block++) {
			const drawn: number[] = [];
			const flags = new UndefinedAlong();
			flags.mask = loose;
			const length = random.below(5);
			const draw = (wanted: (name: string) => boolean): boolean => {
				for (let tries = 0; tries < 40; tries++) {
					const candidate = random.pick(integer.length > 0 && random.below(10) < 6 ? integer : any);
					const name = mnemonic(forms[candidate]!);
					if (!flags.allows(name) || !wanted(name) || (SELDOM.test(name) && !random.once(10))) continue;
					flags.add(name);
					drawn.push(candidate);
					return true;
				}
				return false;
			};
			for (let i = 0; i < length; i++) draw(() => true);
			// The instruction that follows a failure to find one is a CMP: see GraphWriter.
			if ((flags.mask & ~loose) !== 0 && !draw(definesFlags)) {
				drawn.push(-1);
				flags.mask = 0;
			}
			let condition = random.below(16);
			for (let tries = 0; (conditionFlags(condition) & flags.mask) !== 0 && tries < 50; tries++)
				condition = random.below(16);
			if ((conditionFlags(condition) & flags.mask) !== 0) condition = 4;
			blocks.push({ forms: drawn, ending: random.pick(ENDINGS), condition });
		}
		return { blocks };
	}
}

/** A displacement to be filled in once its target's place is known. */
interface Fixup {
	/** Offset of the displacement, and of what it is relative to; -1 for an absolute address. */
	readonly at: number;
	readonly from: number;
	readonly bytes: 1 | 4;
	readonly target: number | "end";
}

/** Encodes a graph. */
export class GraphWriter {
	private readonly code = new Uint8Array(512);
	private length = 0;
	private readonly starts: number[] = [];
	private fixups: Fixup[] = [];
	/** Immediate bytes that stores into the code may change. */
	private patchable: number[] = [];
	private patches: { readonly at: number; readonly from: number }[] = [];

	constructor(
		private readonly random: Random,
		private readonly encoder: Encoder,
		private readonly forms: readonly InstructionForm[],
	) {}

	private bytes(...values: readonly number[]): void {
		for (const value of values) this.code[this.length++] = value;
	}

	/** Room for a displacement. */
	private skip(bytes: number): void {
		for (let i = 0; i < bytes; i++) this.bytes(0);
	}

	private relative(target: number | "end", bytes: 1 | 4): void {
		this.fixups.push({ at: this.length, from: this.length + bytes, bytes, target });
		this.skip(bytes);
	}

	/** Where a graph lies in its slot: some begin in one page and go on in the next. */
	private place(slot: number): number {
		const { random } = this;
		const start = slot * SLOT_BYTES;
		const lastOfPage = slot === SLOTS / 2 - 1;
		if (lastOfPage && random.once(2)) return start + SLOT_BYTES - random.between(130, 200);
		return start + 130 + random.below(SLOT_BYTES - 130 - Case.maxCode);
	}

	/** Writes a graph, its registers and its code, to a case of a slot whose registers are random so far. */
	write(plan: GraphPlan, test: CaseWriter, codeAddress: number, slot: number, modifying: boolean): void {
		const { random, code } = this;
		const compatibility = test.compatibility;
		const counter = compatibility ? RBP : 15;
		test.setGpr(counter, random.between(1, 12), 0);
		test.setGpr(RSP, DATA + (random.between(0x100, DATA_BYTES - 0x100) & -8), 0);
		if (random.once(2)) test.setGpr(6, DATA + random.below(DATA_BYTES - 64), 0);
		if (random.once(2)) test.setGpr(7, DATA + random.below(DATA_BYTES - 64), 0);
		if (random.once(2)) test.setGpr(1, random.below(6), 0);
		const rip = codeAddress + this.place(slot);
		test.view.setUint32(test.base + Case.rip, rip, true);
		this.length = 0;
		this.starts.length = 0;
		this.fixups = [];
		this.patchable = [];
		this.patches = [];
		const tails: { readonly at: number; readonly target: number }[] = [];
		for (const [index, block] of plan.blocks.entries()) {
			if (this.length > Case.maxCode - 90) break;
			this.starts.push(this.length);
			if (modifying) this.modifyCode(compatibility);
			for (const form of block.forms) this.instruction(form, test, rip, counter);
			this.end(block, index, plan.blocks.length, counter, tails);
		}
		// Tails: where conditional jumps backward go to be counted.
		const end = this.length;
		this.bytes(0xcc);
		for (const { at, target } of tails) {
			if (this.length > Case.maxCode - 16) break;
			new DataView(code.buffer).setInt32(at, this.length - (at + 4), true);
			this.countDown(counter);
			this.bytes(0x0f, 0x8f);
			this.relative(target, 4);
			this.bytes(0xcc);
		}
		this.fix(rip, end);
		test.append(code, this.length);
		if (rip - codeAddress + this.length > CODE_BYTES) throw new Error("a graph is longer than its slot");
	}

	private countDown(counter: number): void {
		if (counter === RBP) this.bytes(0x4d);
		else this.bytes(0x49, 0xff, 0xcf);
	}

	private instruction(form: number, test: CaseWriter, rip: number, counter: number): void {
		const { random, encoder, code } = this;
		const { encoded } = encoder;
		const implicit = counter === RBP && form >= 0 && /^(enter|leave)$/.test(mnemonic(this.forms[form]!));
		for (let tries = 0; form >= 0 && !implicit && tries < 40; tries++) {
			encoded.register = 0;
			encoder.encode(this.forms[form]!, test, rip + this.length, true);
			const { register, rm, memoryBytes, memory } = encoded;
			if (register === counter || rm === counter) continue;
			// With registers as they come an address is seldom one.
			if (memoryBytes > 0 && memory < 0 && !random.once(ADDRESS_LIMIT)) continue;
			code.set(encoded.bytes.subarray(0, encoded.length), this.length);
			this.length += encoded.length;
			return;
		}
		// CMP EAX, ECX: whatever was to define flags does not leave them undefined.
		this.bytes(0x39, 0xc8);
	}

	/** An instruction with an immediate that may be overwritten, or a store that overwrites one. */
	private modifyCode(compatibility: boolean): void {
		const { random } = this;
		if (random.once(2)) {
			this.bytes(0x80, 0xc0 + random.below(4), random.below(256));
			this.patchable.push(this.length - 1);
			return;
		}
		// MOV byte [...], imm8
		this.bytes(0xc6, 0x05);
		this.patches.push({ at: this.length, from: compatibility ? -1 : this.length + 5 });
		this.skip(4);
		this.bytes(random.below(256));
	}

	private end(
		block: PlannedBlock,
		index: number,
		count: number,
		counter: number,
		tails: { readonly at: number; readonly target: number }[],
	): void {
		const { random } = this;
		const later = random.between(index + 1, count);
		const earlier = random.below(index + 1);
		const forward = later >= count ? "end" : later;
		const jcc = (condition: number, target: number | "end"): void => {
			if (random.once(2)) {
				this.bytes(0x70 | condition);
				this.relative(target, 1);
			} else {
				this.bytes(0x0f, 0x80 | condition);
				this.relative(target, 4);
			}
		};
		switch (block.ending) {
			case "next":
				return;
			case "jcc":
				jcc(block.condition, forward);
				return;
			case "jmp":
				this.bytes(0xe9);
				this.relative(forward, 4);
				return;
			case "back":
				this.countedBack(earlier, counter, random.below(4), jcc);
				return;
			case "tail":
				// A conditional jump whose way back is counted behind the blocks.
				this.bytes(0x0f, 0x80 | block.condition);
				tails.push({ at: this.length, target: earlier });
				this.skip(4);
				this.fixups.push({ at: this.length - 4, from: this.length, bytes: 4, target: "end" });
				return;
			case "counted":
				this.flagsBack(earlier, counter);
				return;
			case "rcx":
				// LOOPNE, LOOPE read ZF, which is always defined where blocks end; LOOP; JRCXZ.
				this.bytes(0xe0 | random.below(4));
				this.relative(forward, 1);
				return;
			case "indirect": {
				const register = random.pick([0, 1, 2, 3, 6, 7]);
				this.bytes(0xb8 | register);
				this.fixups.push({ at: this.length, from: -1, bytes: 4, target: forward });
				this.skip(4);
				this.bytes(0xff, 0xe0 | register);
				return;
			}
			case "call":
				this.bytes(0xe8);
				this.relative(forward, 4);
				return;
			case "return":
				this.bytes(0x68);
				this.fixups.push({ at: this.length, from: -1, bytes: 4, target: forward });
				this.skip(4);
				this.bytes(0xc3);
				return;
		}
	}

	/** Counts down and jumps back while something is left, by flags of different makers. What is left is never negative behind it. */
	private countedBack(
		target: number,
		counter: number,
		how: number,
		jcc: (condition: number, target: number) => void,
	): void {
		const { random } = this;
		const narrow = counter === RBP;
		switch (how) {
			case 0:
			case 1:
				// SUB: JA, JAE, JG, JGE, JNS.
				if (narrow) this.bytes(0x83, 0xed, 1);
				else this.bytes(0x49, 0x83, 0xef, 1);
				jcc(random.pick([3, 7, 9, 13, 15]), target);
				break;
			case 2:
				// LEA, TEST: JG, JNS.
				if (narrow) this.bytes(0x8d, 0x6d, 0xff, 0x85, 0xed);
				else this.bytes(0x4d, 0x8d, 0x7f, 0xff, 0x4d, 0x85, 0xff);
				jcc(random.pick([9, 15]), target);
				break;
			default:
				// DEC: JG, JGE, JNS.
				this.countDown(counter);
				jcc(random.pick([9, 13, 15]), target);
		}
		if (narrow) this.bytes(0xbd, 0, 0, 0, 0);
		else this.bytes(0x49, 0xc7, 0xc7, 0, 0, 0, 0);
	}

	/** Counts down and jumps back without touching the flags, which so live on in the next round: XCHG, JRCXZ, LEA, XCHG. */
	private flagsBack(target: number, counter: number): void {
		const narrow = counter === RBP;
		const exchange = narrow ? [0x87, 0xe9] : [0x4c, 0x87, 0xf9];
		const less = narrow ? [0x8d, 0x49, 0xff] : [0x48, 0x8d, 0x49, 0xff];
		this.bytes(...exchange, 0xe3, less.length + exchange.length + 5, ...less, ...exchange, 0xe9);
		this.relative(target, 4);
		this.bytes(...exchange);
	}

	private fix(rip: number, end: number): void {
		const { code, fixups, patches, patchable, random } = this;
		const view = new DataView(code.buffer);
		for (const { at, from, bytes, target } of fixups) {
			// What stands already is the way to a tail.
			if (bytes === 4 && target === "end" && view.getInt32(at, true) !== 0) continue;
			const to = target === "end" ? end : (this.starts[target] ?? end);
			if (from < 0) view.setInt32(at, rip + to, true);
			else if (bytes === 4) view.setInt32(at, to - from, true);
			// Too far for a short jump: to the next instruction then.
			else code[at] = to - from >= -128 && to - from <= 127 ? to - from : 0;
		}
		for (const { at, from } of patches) {
			// Nothing to change: into the data.
			const to = patchable.length > 0 ? random.pick(patchable) : DATA - rip;
			view.setInt32(at, from < 0 ? rip + to : to - from, true);
		}
	}
}
