/**
 * Encodes instructions of the table (src/cpu/semantics/table.ts) at random: every operand size by its prefixes, every register
 * with and without REX, every addressing mode. Registers that an address is made of are set so that it falls where it was meant to.
 */
import type { InstructionForm, OperandForm } from "../../../src/cpu/semantics/table.ts";
import { type CaseWriter, dataOffset, RBP, RSP } from "./case.ts";
import { lockAccepted } from "./differences.ts";
import type { Random } from "./random.ts";
import { CODE, CODE_BYTES, DATA, DATA_BYTES, FS_BASE, GS_BASE, READ_ONLY, SLOT_BYTES } from "./records.ts";

/** What {@link encode} made. */
export interface Encoded {
	readonly bytes: Uint8Array;
	length: number;
	operandSize: number;
	addressSize: number;
	/** Data offset of the memory operand, or -1. */
	memory: number;
	/** Its size in bytes as generated (0: none). */
	memoryBytes: number;
	/** Register of ModRM.reg, or of the opcode. */
	register: number;
	/** Register of ModRM.rm, or -1 for a memory operand. */
	rm: number;
	immediate: number;
	repeated: boolean;
	locked: boolean;
	rex: boolean;
	/** The instruction loads or stores a segment register. */
	segment: boolean;
	/** A relative branch leads out of the code pages: only single-stepping can end the case. */
	far: boolean;
}

export function newEncoded(): Encoded {
	return {
		bytes: new Uint8Array(40),
		length: 0,
		operandSize: 32,
		addressSize: 64,
		memory: -1,
		memoryBytes: 0,
		register: 0,
		rm: -1,
		immediate: 0,
		repeated: false,
		locked: false,
		rex: false,
		segment: false,
		far: false,
	};
}

const IMMEDIATE_EDGES = [0, 1, 2, -1, -2, 0x7f, -0x80, 0xff, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65];
const WIDE_EDGES = [0x7fff, 0x8000, -0x8000, 0x7fff_ffff, 0x8000_0000, -1, 0, 1, 0x1_0000];
const DISPLACEMENT_EDGES = [0, 1, -1, 0x7f, -0x80, 0x7fff_ffff, -0x8000_0000];

/** Forms whose operand size the prefixes choose. */
export function isSized(form: InstructionForm): boolean {
	return form.sized === true || form.operands.some(({ size }) => size === "v" || size === "z" || size === "y");
}

function bytesOf(operand: OperandForm, operandSize: number): number {
	const { size } = operand;
	if (typeof size === "number") return size / 8;
	if (size === "v") return operandSize / 8;
	if (size === "z") return operandSize === 16 ? 2 : 4;
	if (size === "y") return operandSize === 64 ? 8 : 4;
	return 16;
}

export class Encoder {
	private at = 0;
	private readonly bytes: Uint8Array;
	private rexByte = 0;

	constructor(
		private readonly random: Random,
		readonly encoded: Encoded,
	) {
		this.bytes = encoded.bytes;
	}

	private byte(value: number): void {
		this.bytes[this.at++] = value;
	}
	private number(value: number, bytes: number): void {
		let rest = value;
		for (let i = 0; i < bytes; i++) {
			this.byte(rest & 0xff);
			rest = Math.floor(rest / 256);
		}
	}

	/**
	 * Encodes `form` for the case, to stand at `rip`. `keep`: registers are not to be changed (not the first instruction of a sequence).
	 * The result is in {@link encoded}.
	 */
	encode(form: InstructionForm, test: CaseWriter, rip: number, keep: boolean): void {
		const { random, encoded } = this;
		const compatibility = test.compatibility;
		this.at = 0;
		this.rexByte = 0;
		encoded.memory = -1;
		encoded.memoryBytes = 0;
		encoded.rm = -1;
		encoded.repeated = false;
		encoded.immediate = 0;
		encoded.far = false;
		encoded.segment = form.operands.some(({ kind }) => kind === "segment");

		const rmOperand = form.operands.find(({ kind }) => kind === "modrmRm");
		const moffs = form.operands.some(({ kind }) => kind === "moffs");
		const memory =
			(form.hasModrm &&
				form.exactModrm < 0 &&
				rmOperand !== undefined &&
				(rmOperand.rm === "memory" || (rmOperand.rm === "any" && random.once(2)))) ||
			moffs;

		const prefix66 = this.operandSize(form, compatibility);
		const rexW = !compatibility && (encoded.operandSize === 64 ? this.rexByte !== 0 : false);
		const prefixes: number[] = [];
		if (prefix66) prefixes.push(0x66);
		encoded.addressSize = compatibility ? 32 : 64;
		if (random.once(memory || form.addressSized ? 8 : 40)) {
			prefixes.push(0x67);
			encoded.addressSize = compatibility ? 16 : 32;
		}
		// ES, CS, SS and DS mean nothing in 64-bit mode. FS and GS are null: in compatibility mode no access passes through them.
		let segment = 0;
		if (memory && random.once(8))
			segment = random.pick(compatibility ? [0x26, 0x36, 0x3e, 0x64, 0x65] : [0x26, 0x2e, 0x3e, 0x64, 0x65]);
		if (segment !== 0) prefixes.push(segment);
		encoded.locked = form.lock === true && memory ? random.once(3) : random.once(100) && !lockAccepted(form);
		if (encoded.locked) prefixes.push(0xf0);
		if (form.rep !== undefined && random.once(2)) {
			prefixes.push(random.pick([0xf2, 0xf3]));
			encoded.repeated = true;
		}
		if (prefixes.length > 1 && random.once(2)) prefixes.reverse();
		for (const prefix of prefixes) this.byte(prefix);
		if (form.mandatory === "66" || form.mandatory === "f2" || form.mandatory === "f3") {
			this.byte(Number.parseInt(form.mandatory, 16));
		}

		let rex = 0;
		if (!compatibility && (rexW || random.once(2))) rex = 0x40 | random.below(8) | (rexW ? 8 : 0);
		encoded.rex = rex !== 0;
		if (rex !== 0) this.byte(rex);
		if (form.map >= 1) this.byte(0x0f);
		if (form.map === 2) this.byte(0x38);
		if (form.map === 3) this.byte(0x3a);

		let ripFixup = -1;
		let target = 0;
		if (form.opcodeRegister) {
			const register = random.below(8);
			encoded.register = register | ((rex & 1) << 3);
			this.byte((form.opcode & 0xf8) | register);
		} else this.byte(form.opcode);
		if (form.hasModrm) {
			if (form.exactModrm >= 0) {
				this.byte(form.exactModrm);
			} else {
				const reg = form.digit >= 0 ? form.digit : random.below(8);
				encoded.register = reg | ((rex & 4) << 1);
				if (!memory) {
					const rm = random.below(8);
					encoded.rm = rm | ((rex & 1) << 3);
					this.byte(0xc0 | (reg << 3) | rm);
				} else {
					encoded.memoryBytes = bytesOf(rmOperand!, encoded.operandSize);
					const vector = encoded.memoryBytes >= 16 || rmOperand!.file === "xmm";
					target = this.target(encoded.memoryBytes, vector);
					const offset = target - DATA;
					if (offset >= 0 && offset < DATA_BYTES) {
						encoded.memory = offset;
						if (!keep) test.window(offset, random.pick([0, 0, 8, 32, 64]));
					}
					ripFixup = this.address(test, reg, rex, target, segment, keep);
				}
			}
		} else if (moffs) {
			encoded.memoryBytes = encoded.operandSize / 8;
			target = this.target(encoded.memoryBytes, false);
			if (segment === 0x64) target -= FS_BASE.low;
			const offset = segment === 0x65 ? -1 : target - DATA;
			if (offset >= 0 && offset < DATA_BYTES) encoded.memory = offset;
			this.number(target, encoded.addressSize / 8);
			if (segment === 0x65) this.bytes[this.at - 1] = random.below(2);
		}
		this.immediates(form, rip, keep);
		if (ripFixup >= 0) {
			const length = this.at;
			const displacement = target - (rip + length);
			this.at = ripFixup;
			this.number(displacement, 4);
			this.at = length;
		}
		encoded.length = this.at;
	}

	/** Chooses the operand size; returns whether prefix 66 is needed. Leaves a mark in rexByte when REX.W is. */
	private operandSize(form: InstructionForm, compatibility: boolean): boolean {
		const { random, encoded } = this;
		const may66 = form.mandatory !== "66" && form.operands.some(({ size }) => size === "v" || size === "z");
		const sized = isSized(form);
		encoded.operandSize = 32;
		if (form.size64 !== undefined && !compatibility) {
			encoded.operandSize = 64;
			// With near branches the processors differ: AMD's honour 66 in 64-bit mode, Intel's ignore it.
			if (form.size64 === "default64" && random.once(4)) {
				encoded.operandSize = 16;
				return true;
			}
			if (random.once(4)) this.rexByte = 8;
			return false;
		}
		if (!sized) {
			// REX.W changes nothing here; the processor must ignore it.
			if (!compatibility && random.once(12)) {
				encoded.operandSize = 64;
				this.rexByte = 8;
			}
			return false;
		}
		const choice = random.below(3);
		if (choice === 0 && (may66 || (form.sized === true && form.mandatory !== "66"))) {
			encoded.operandSize = 16;
			return true;
		}
		// Far pointers with a 64-bit offset exist on Intel's processors only.
		if (choice === 1 && !compatibility && !/^(callf|jmpf|l[sfg]s)$/.test(form.name)) {
			encoded.operandSize = 64;
			this.rexByte = 8;
		}
		return false;
	}

	/** An address for an access of some bytes. */
	private target(bytes: number, vector: boolean): number {
		const { random } = this;
		const roll = random.below(100);
		const size = Math.max(1, bytes);
		if (roll < 6 && size > 1) return DATA + 0x1000 - random.between(1, size - 1);
		if (roll < 10 && size > 1) return DATA + DATA_BYTES - random.between(1, size - 1);
		if (roll < 12) return DATA + DATA_BYTES - size;
		if (roll < 13) return DATA + DATA_BYTES + random.below(64);
		if (roll < 14) return DATA - random.between(1, size);
		if (roll < 17) return READ_ONLY + (random.below(0xf00) & -16);
		const offset = random.below(DATA_BYTES - Math.min(size, 0x400));
		if (vector && !random.once(12)) return DATA + (offset & -16);
		return DATA + (random.once(2) ? offset & -8 : offset);
	}

	private displacement(): number {
		const { random } = this;
		switch (random.below(4)) {
			case 0:
				return random.pick(DISPLACEMENT_EDGES);
			case 1:
				return random.word();
			default:
				return random.between(-128, 127);
		}
	}

	/**
	 * Encodes ModRM, SIB and displacement of an operand at `target` and sets the registers for it.
	 * @returns where a RIP-relative displacement has to be filled in, or -1.
	 */
	private address(test: CaseWriter, reg: number, rex: number, target: number, segment: number, keep: boolean): number {
		const { random, encoded } = this;
		const long = encoded.addressSize === 64;
		// The offset within the segment, as halves.
		let low = target;
		let high = 0;
		if (segment === 0x64) low -= FS_BASE.low;
		else if (segment === 0x65) {
			low = target - GS_BASE.low;
			high = 0 - GS_BASE.high;
			if (low < 0) high -= 1;
		}
		if (encoded.addressSize === 16) {
			this.byte((random.below(2) << 6) | (reg << 3) | random.below(8));
			const modrm = this.bytes[this.at - 1]!;
			if ((modrm & 0xc7) === 6) this.number(random.word(), 2);
			else if (modrm >> 6 === 1) this.byte(random.below(256));
			encoded.memory = -1;
			return -1;
		}
		const plain = segment === 0 || (segment !== 0x64 && segment !== 0x65);
		if (plain && random.once(keep ? 2 : 8)) {
			// mod 0, rm 5: RIP-relative, or absolute in compatibility mode.
			this.byte((reg << 3) | 5);
			if (test.compatibility) {
				this.number(low, 4);
				return -1;
			}
			this.at += 4;
			return this.at - 4;
		}
		if (plain && random.once(keep ? 2 : 12)) {
			// SIB without base and index.
			this.byte((reg << 3) | 4);
			this.byte((random.below(4) << 6) | 0x25);
			encoded.bytes[this.at - 1]! &= 0xff;
			// REX.X would make the index R12.
			if ((rex & 2) !== 0 && !keep) test.setGpr(12, 0, 0);
			this.number(low, 4);
			return -1;
		}
		const indexed = random.once(3);
		const base = random.below(8) | ((rex & 1) << 3);
		const index = random.below(8) | ((rex & 2) << 2);
		const scale = random.below(4);
		const sib = indexed || (base & 7) === RSP;
		let mod = random.below(3);
		const noBase = sib && indexed && (base & 7) === RBP && mod === 0;
		if (!sib && mod === 0 && (base & 7) === RBP) mod = 1;
		let displacement = 0;
		if (mod === 1) displacement = random.once(2) ? random.between(-128, 127) : random.pick([-128, 127, 0, -1]);
		else if (mod === 2) displacement = this.displacement() | 0;
		this.byte((mod << 6) | (reg << 3) | (sib ? 4 : base & 7));
		if (sib) this.byte((scale << 6) | ((indexed ? index & 7 : 4) << 3) | (base & 7));
		const indexUsed = sib && (indexed ? index !== RSP : (rex & 2) !== 0);
		const indexRegister = indexed ? index : 12;
		let indexLow = 0;
		let indexHigh = 0;
		if (indexUsed) {
			if (!keep && (noBase || random.once(2))) {
				const small = random.between(-64, 64);
				test.setGpr(indexRegister, small, small < 0 ? -1 : 0);
			}
			indexLow = test.low(indexRegister) << scale;
			indexHigh =
				scale === 0
					? test.high(indexRegister)
					: (test.high(indexRegister) << scale) | (test.low(indexRegister) >>> (32 - scale));
		}
		if (noBase) {
			displacement = (low - indexLow) | 0;
			this.number(displacement, 4);
			return -1;
		}
		if (mod === 1) this.byte(displacement & 0xff);
		else if (mod === 2) this.number(displacement, 4);
		// base = offset - index * scale - displacement, modulo 2^64.
		const sumLow = (indexLow >>> 0) + (displacement >>> 0);
		const sumHigh = indexHigh + (displacement < 0 ? -1 : 0) + (sumLow >= 2 ** 32 ? 1 : 0);
		const lowWord = low >>> 0;
		const baseLow = lowWord - (sumLow >>> 0);
		let baseHigh = high - sumHigh - (baseLow < 0 ? 1 : 0);
		if (!long) baseHigh = random.word();
		if (keep || (indexUsed && indexRegister === base)) {
			encoded.memory = -1;
			return -1;
		}
		// Sometimes somewhere else: not canonical, or nothing there. Never in the upper half, where Linux hides what is.
		if (long && random.once(60)) {
			baseHigh = random.between(0x8000, 0x7fff_ffff);
			encoded.memory = -1;
		}
		test.setGpr(base, baseLow | 0, baseHigh | 0);
		return -1;
	}

	private immediates(form: InstructionForm, rip: number, keep: boolean): void {
		const { random, encoded } = this;
		for (const operand of form.operands) {
			if (operand.kind === "immediate") {
				const size = operand.code.startsWith("Ibs") ? 1 : bytesOf(operand, encoded.operandSize);
				const roll = random.below(4);
				let value = random.word();
				// The outer stack of RETF lies behind what it releases: near, so that it is there.
				if (form.name === "retf") value = random.below(64);
				else if (roll === 0) value = random.pick(size === 1 ? IMMEDIATE_EDGES : WIDE_EDGES);
				else if (roll === 1) value = random.pick(IMMEDIATE_EDGES);
				// INT 80h would be a system call of the host.
				if (form.name === "int" && (value & 0xff) === 0x80) value = 0x81;
				encoded.immediate = value;
				this.number(value, size);
				if (size === 8) for (let i = 1; i <= 4; i++) this.bytes[this.at - i] = random.below(256);
			} else if (operand.kind === "relative") {
				const size = operand.size === 8 ? 1 : encoded.operandSize === 16 ? 2 : 4;
				const end = rip + this.at + size;
				let target = end;
				if (size === 1) target = end + random.between(-128, 127);
				else if (size === 4 && random.once(4)) target = end + random.word();
				else if (size === 4) target = (rip & -SLOT_BYTES) + random.between(32, 120);
				else target = random.below(0x1_0000);
				// Back into itself, or into a sequence that it ends, might never end.
				if (target > rip - (keep ? 200 : 16) && target < end) target = end;
				encoded.far = target < CODE || target > CODE + CODE_BYTES - 16;
				this.number(target - end, size);
			}
		}
	}
}

/** Data offset of an address held in a register. */
export function registerData(test: CaseWriter, register: number): number {
	return dataOffset(test.low(register), test.high(register));
}
