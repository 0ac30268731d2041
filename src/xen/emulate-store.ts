/**
 * Stores of a guest kernel to its own page tables, which are mapped read-only: the store faults, is decoded here, and its effect goes
 * through mm/ptwr.ts, which checks it as mmu_update does. Linux does so for ptep_get_and_clear (XCHG), ptep_set_wrprotect (LOCK BTR,
 * LOCK AND) and others: the path is warm, so nothing allocates and 64-bit values are pairs of halves.
 */
import { Access } from "../cpu/processor.ts";
import { ARITHMETIC_FLAGS, Flag, Gpr } from "../cpu/registers.ts";
import { retire } from "./emulate.ts";
import { decodeModRm, decodeOpcode, fetch, immediate, instruction, isHighByte, operandSize } from "./instruction.ts";
import { isPageTableWrite, PageTableWrite, pageTableWord, pageTableWrite } from "./mm/ptwr.ts";
import { TraceCategory } from "./trace.ts";
import type { Vcpu } from "./vcpu.ts";

/** A value of 1 to 8 bytes. */
interface Word {
	low: number;
	high: number;
}

const source: Word = { low: 0, high: 0 };
const old: Word = { low: 0, high: 0 };
const result: Word = { low: 0, high: 0 };

/** Arithmetic by the number in bits 3-5 of the opcode, or in ModRM.reg of the immediate forms. */
const Alu = { add: 0, or: 1, adc: 2, sbb: 3, and: 4, sub: 5, xor: 6 } as const;

/**
 * A write fault of the guest kernel at `address`.
 * @returns true where it was a store to a page table and has been done; false where the guest is to get its fault.
 */
export function emulatePageTableWrite(vcpu: Vcpu, address: number, errorCode: number): boolean {
	if (!isPageTableWrite(vcpu, address, errorCode)) return false;
	fetch(vcpu);
	if (!decodeOpcode(vcpu) || !store(vcpu, address)) return false;
	const { trace } = vcpu.domain.hypervisor;
	trace.count("emulatedPageTableWrites");
	if ((trace.categories & TraceCategory.emulation) !== 0) {
		trace.emulated(vcpu, `page table write, opcode ${instruction.opcode.toString(16)}`);
	}
	return true;
}

/** Does the instruction, which stores to `address`. The fault says where; operands need no address arithmetic. */
function store(vcpu: Vcpu, address: number): boolean {
	const { opcode } = instruction;
	switch (opcode) {
		case 0x88:
		case 0x89:
			return (
				memoryOperand() && plain(vcpu, address, operandSize(), registerValue(vcpu, instruction.reg, operandSize()))
			);
		case 0x0fc3:
			// MOVNTI
			if (!memoryOperand()) return false;
			return plain(vcpu, address, wideSize(), registerValue(vcpu, instruction.reg, wideSize()));
		case 0xc6:
		case 0xc7:
			if (!memoryOperand() || (instruction.reg & 7) !== 0) return false;
			return immediateValue(operandSize()) && plain(vcpu, address, operandSize(), source);
		case 0xaa:
		case 0xab:
			return storeString(vcpu, address, operandSize());
		case 0x86:
		case 0x87:
			return memoryOperand() && exchange(vcpu, address, operandSize());
		case 0x0fb0:
		case 0x0fb1:
			return memoryOperand() && compareExchange(vcpu, address, operandSize());
		case 0x0fc0:
		case 0x0fc1:
			return memoryOperand() && exchangeAdd(vcpu, address, operandSize());
		case 0x0fc7:
			return memoryOperand() && (instruction.reg & 7) === 1 && compareExchange8(vcpu, address);
		case 0x80:
		case 0x81:
		case 0x83: {
			if (!memoryOperand()) return false;
			const operation = instruction.reg & 7;
			const size = operandSize();
			if (!(opcode === 0x83 ? byteImmediate() : immediateValue(size))) return false;
			return arithmetic(vcpu, address, size, operation);
		}
		case 0xf6:
		case 0xf7:
		case 0xfe:
		case 0xff:
			return memoryOperand() && unary(vcpu, address, operandSize());
		case 0x0fab:
		case 0x0fb3:
		case 0x0fbb: {
			if (!memoryOperand()) return false;
			const size = wideSize();
			// The bit's number selects the word too: the fault's address is that word's.
			const bit = vcpu.registers.low(instruction.reg) & (size * 8 - 1);
			return changeBit(vcpu, address, size, bit, (opcode >>> 3) & 3);
		}
		case 0x0fba: {
			if (!memoryOperand()) return false;
			const bit = immediate(1);
			const operation = instruction.reg & 7;
			if (bit === undefined || operation < 5) return false;
			return changeBit(vcpu, address, wideSize(), bit & (wideSize() * 8 - 1), operation & 3);
		}
		default:
			// The six two-operand instructions with a memory destination: 00xx x00w.
			if (opcode < 0x38 && (opcode & 6) === 0) {
				if (!memoryOperand()) return false;
				registerValue(vcpu, instruction.reg, operandSize());
				return arithmetic(vcpu, address, operandSize(), opcode >>> 3);
			}
			return false;
	}
}

function memoryOperand(): boolean {
	return decodeModRm() && instruction.mod !== 3;
}

/** Operand size of instructions without a byte form. */
function wideSize(): number {
	return (instruction.rex & 8) !== 0 ? 8 : instruction.operand16 ? 2 : 4;
}

/** A general register's value as a source operand, in {@link source}. */
function registerValue(vcpu: Vcpu, register: number, size: number): Word {
	const { registers } = vcpu;
	if (isHighByte(register, size)) {
		source.low = (registers.low(register & 3) >>> 8) & 0xff;
		source.high = 0;
	} else {
		source.low = registers.low(register);
		source.high = registers.high(register);
	}
	return source;
}

/** Writes a result to a general register: 4 bytes clear the upper half, 1 and 2 keep the rest. */
function setRegister(vcpu: Vcpu, register: number, size: number, value: Word): void {
	const { registers } = vcpu;
	if (size === 8) registers.setHalves(register, value.low, value.high);
	else if (size === 4) registers.setHalves(register, value.low, 0);
	else if (isHighByte(register, size)) {
		const whole = registers.low(register & 3);
		registers.setHalves(register & 3, (whole & ~0xff00) | ((value.low & 0xff) << 8), registers.high(register & 3));
	} else {
		const mask = size === 2 ? 0xffff : 0xff;
		registers.setHalves(register, (registers.low(register) & ~mask) | (value.low & mask), registers.high(register));
	}
}

/** An immediate of the operand's size (8-byte operands have 4, sign-extended), in {@link source}. */
function immediateValue(size: number): boolean {
	const value = immediate(Math.min(size, 4));
	if (value === undefined) return false;
	source.low = value >>> 0;
	source.high = value < 0 ? 0xffff_ffff : 0;
	return true;
}

function byteImmediate(): boolean {
	const value = immediate(1);
	if (value === undefined) return false;
	source.low = value >>> 0;
	source.high = value < 0 ? 0xffff_ffff : 0;
	return true;
}

/** What is at `address` now, in {@link old}. @returns false where it cannot be read. */
function load(vcpu: Vcpu, address: number, size: number): boolean {
	const { memory, processor } = vcpu.domain.hypervisor;
	const linear = processor.translate(address, Access.read, 0);
	// A table's entry never crosses a page.
	if (linear < 0 || (((address % 8) + 8) & 7) + size > 8) return false;
	old.low = size === 1 ? memory.u8(linear) : size === 2 ? memory.u16(linear) : memory.u32(linear);
	old.high = size === 8 ? memory.u32(linear + 4) : 0;
	return true;
}

function write(vcpu: Vcpu, address: number, size: number, value: Word): boolean {
	return pageTableWrite(vcpu, address, size, value.low, value.high) === PageTableWrite.done;
}

function plain(vcpu: Vcpu, address: number, size: number, value: Word): boolean {
	if (!write(vcpu, address, size, value)) return false;
	retire(vcpu, instruction.length);
	return true;
}

/** STOS: one element; with a repeat prefix RIP stays until RCX is used up. */
function storeString(vcpu: Vcpu, address: number, size: number): boolean {
	const { registers } = vcpu;
	const repeated = instruction.repeat !== 0;
	if (!write(vcpu, address, size, registerValue(vcpu, Gpr.rax, size === 1 ? 8 : size))) return false;
	registers.set(Gpr.rdi, registers.get(Gpr.rdi) + ((registers.rflags & Flag.DF) !== 0 ? -size : size));
	if (repeated) {
		registers.set(Gpr.rcx, registers.get(Gpr.rcx) - 1);
		if (registers.low(Gpr.rcx) !== 0 || registers.high(Gpr.rcx) !== 0) return true;
	}
	retire(vcpu, instruction.length);
	return true;
}

function exchange(vcpu: Vcpu, address: number, size: number): boolean {
	const { reg } = instruction;
	if (!load(vcpu, address, size) || !write(vcpu, address, size, registerValue(vcpu, reg, size))) return false;
	setRegister(vcpu, reg, size, old);
	retire(vcpu, instruction.length);
	return true;
}

function compareExchange(vcpu: Vcpu, address: number, size: number): boolean {
	const { registers } = vcpu;
	const expected = result;
	expected.low = registers.low(Gpr.rax);
	expected.high = registers.high(Gpr.rax);
	const value = registerValue(vcpu, instruction.reg, size);
	switch (pageTableWrite(vcpu, address, size, value.low, value.high, expected)) {
		case PageTableWrite.done:
			setFlags(vcpu, Flag.ZF | Flag.PF);
			break;
		case PageTableWrite.mismatch:
			old.low = pageTableWord.low;
			old.high = pageTableWord.high;
			// The flags are those of CMP accumulator, destination.
			source.low = old.low;
			source.high = old.high;
			old.low = expected.low;
			old.high = expected.high;
			compute(vcpu, Alu.sub, size);
			setRegister(vcpu, Gpr.rax, size, source);
			break;
		default:
			return false;
	}
	retire(vcpu, instruction.length);
	return true;
}

/** CMPXCHG8B; its 16-byte form is refused, as it spans two entries. */
function compareExchange8(vcpu: Vcpu, address: number): boolean {
	const { registers } = vcpu;
	if ((instruction.rex & 8) !== 0) return false;
	old.low = registers.low(Gpr.rax);
	old.high = registers.low(Gpr.rdx);
	const low = registers.low(Gpr.rbx);
	const outcome = pageTableWrite(vcpu, address, 8, low, registers.low(Gpr.rcx), old);
	if (outcome === PageTableWrite.refused) return false;
	if (outcome === PageTableWrite.done) {
		registers.rflags |= Flag.ZF;
	} else {
		registers.rflags &= ~Flag.ZF;
		registers.setHalves(Gpr.rax, pageTableWord.low, 0);
		registers.setHalves(Gpr.rdx, pageTableWord.high, 0);
	}
	retire(vcpu, instruction.length);
	return true;
}

function exchangeAdd(vcpu: Vcpu, address: number, size: number): boolean {
	const { reg } = instruction;
	if (!load(vcpu, address, size)) return false;
	const flags = vcpu.registers.rflags;
	registerValue(vcpu, reg, size);
	compute(vcpu, Alu.add, size);
	if (!write(vcpu, address, size, result)) {
		vcpu.registers.rflags = flags;
		return false;
	}
	setRegister(vcpu, reg, size, old);
	retire(vcpu, instruction.length);
	return true;
}

/** A two-operand instruction with {@link source}; CMP (7) does not store. */
function arithmetic(vcpu: Vcpu, address: number, size: number, operation: number): boolean {
	if (operation > Alu.xor || !load(vcpu, address, size)) return false;
	const flags = vcpu.registers.rflags;
	compute(vcpu, operation, size);
	if (!write(vcpu, address, size, result)) {
		vcpu.registers.rflags = flags;
		return false;
	}
	retire(vcpu, instruction.length);
	return true;
}

/** INC, DEC, NOT and NEG. */
function unary(vcpu: Vcpu, address: number, size: number): boolean {
	const { registers } = vcpu;
	const group5 = instruction.opcode >= 0xfe;
	const operation = instruction.reg & 7;
	if (!load(vcpu, address, size)) return false;
	const flags = registers.rflags;
	source.low = 1;
	source.high = 0;
	if (group5 && operation <= 1) {
		compute(vcpu, operation === 0 ? Alu.add : Alu.sub, size);
		// INC and DEC leave CF alone.
		registers.rflags = (registers.rflags & ~Flag.CF) | (flags & Flag.CF);
	} else if (!group5 && operation === 2) {
		result.low = ~old.low >>> 0;
		result.high = ~old.high >>> 0;
	} else if (!group5 && operation === 3) {
		source.low = old.low;
		source.high = old.high;
		old.low = 0;
		old.high = 0;
		compute(vcpu, Alu.sub, size);
	} else {
		return false;
	}
	if (!write(vcpu, address, size, result)) {
		registers.rflags = flags;
		return false;
	}
	retire(vcpu, instruction.length);
	return true;
}

/** BTS (1), BTR (2) and BTC (3) of a bit of the word at `address`; CF is the bit's old value. */
function changeBit(vcpu: Vcpu, address: number, size: number, bit: number, operation: number): boolean {
	const { registers } = vcpu;
	if (!load(vcpu, address, size)) return false;
	const inHigh = bit >= 32;
	const mask = 1 << (bit & 31);
	const word = inHigh ? old.high : old.low;
	const changed = (operation === 1 ? word | mask : operation === 2 ? word & ~mask : word ^ mask) >>> 0;
	result.low = inHigh ? old.low : changed;
	result.high = inHigh ? changed : old.high;
	if (!write(vcpu, address, size, result)) return false;
	registers.rflags = (registers.rflags & ~Flag.CF) | ((word & mask) !== 0 ? Flag.CF : 0);
	retire(vcpu, instruction.length);
	return true;
}

function setFlags(vcpu: Vcpu, arithmeticFlags: number): void {
	vcpu.registers.rflags = (vcpu.registers.rflags & ~ARITHMETIC_FLAGS) | arithmeticFlags;
}

/** `old` operation `source` to `result`, with the manual's flags. AF of the logical operations, undefined, becomes 0. */
function compute(vcpu: Vcpu, operation: number, size: number): void {
	const carryIn = operation === Alu.adc || operation === Alu.sbb ? vcpu.registers.rflags & Flag.CF : 0;
	let flags = 0;
	switch (operation) {
		case Alu.or:
			result.low = (old.low | source.low) >>> 0;
			result.high = (old.high | source.high) >>> 0;
			break;
		case Alu.and:
			result.low = (old.low & source.low) >>> 0;
			result.high = (old.high & source.high) >>> 0;
			break;
		case Alu.xor:
			result.low = (old.low ^ source.low) >>> 0;
			result.high = (old.high ^ source.high) >>> 0;
			break;
		default: {
			const subtract = operation === Alu.sub || operation === Alu.sbb;
			const low = subtract ? old.low - source.low - carryIn : old.low + source.low + carryIn;
			result.low = low >>> 0;
			const carry = low < 0 || low >= 2 ** 32 ? 1 : 0;
			result.high = (subtract ? old.high - source.high - carry : old.high + source.high + carry) >>> 0;
			// Carries out of every bit, of both halves: subtraction's are borrows.
			const lowCarries = carries(old.low, source.low, result.low, subtract);
			const highCarries = carries(old.high, source.high, result.high, subtract);
			const top = size === 8 ? highCarries : lowCarries;
			const topBit = size >= 4 ? 31 : size * 8 - 1;
			if ((lowCarries & 8) !== 0) flags |= Flag.AF;
			if (((top >>> topBit) & 1) !== 0) flags |= Flag.CF;
			if (((top >>> topBit) & 1) !== ((top >>> (topBit - 1)) & 1)) flags |= Flag.OF;
		}
	}
	const mask = size >= 4 ? 0xffff_ffff : 2 ** (size * 8) - 1;
	const topWord = size === 8 ? result.high : result.low;
	const topBit = size >= 4 ? 31 : size * 8 - 1;
	if ((result.low & mask) === 0 && (size < 8 || result.high === 0)) flags |= Flag.ZF;
	if (((topWord >>> topBit) & 1) !== 0) flags |= Flag.SF;
	if (evenParity(result.low & 0xff)) flags |= Flag.PF;
	setFlags(vcpu, flags);
}

function carries(left: number, right: number, sum: number, subtract: boolean): number {
	return subtract ? (~left & right) | ((~left | right) & sum) : (left & right) | ((left | right) & ~sum);
}

function evenParity(byte: number): boolean {
	const folded = byte ^ (byte >>> 4);
	return ((0x9669 >>> (folded & 15)) & 1) !== 0;
}
