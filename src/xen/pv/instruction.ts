/**
 * A decoder for the few instructions that the hypervisor executes in a guest's place (emulate.ts). It finds
 * prefixes, opcode, ModRM and where the instruction ends; operands' addresses are not needed, as the fault tells them. The
 * processor's own decoder is for speed and knows no faults' reasons; this one reads guest memory as data.
 */
import { Access } from "../../cpu/processor.ts";
import { Segment } from "../../cpu/registers.ts";
import type { Vcpu } from "../vcpu.ts";

/** The architecture's limit. */
const LONGEST = 15;

/** The instruction being looked at: one, reused. Fields are valid after {@link decode} has returned true. */
export const instruction = {
	bytes: new Uint8Array(LONGEST + 1),
	/** Bytes that could be read, and bytes that are decoded so far; at the end the length. */
	available: 0,
	length: 0,
	operand16: false,
	lock: false,
	/** 0, 0xf2 or 0xf3. */
	repeat: 0,
	rex: 0,
	/** One byte, or 0x0f00 + the second. */
	opcode: 0,
	mod: 0,
	/** With REX.R and REX.B. */
	reg: 0,
	rm: 0,
};

/** Reads the bytes at RIP as data, up to the longest instruction or the end of what is mapped. */
export function fetch(vcpu: Vcpu): void {
	const { registers } = vcpu;
	const { memory, processor } = vcpu.domain.hypervisor;
	const start = registers.longMode
		? registers.rip
		: (registers.segmentBase(Segment.cs) + (registers.rip % 2 ** 32)) % 2 ** 32;
	let done = 0;
	while (done < LONGEST) {
		const address = start + done;
		const inPage = ((address % 4096) + 4096) & 4095;
		const count = Math.min(LONGEST - done, 4096 - inPage);
		const linear = processor.translate(address, Access.execute, registers.addressSpace);
		if (linear < 0) break;
		for (let index = 0; index < count; index++) instruction.bytes[done + index] = memory.u8(linear + index);
		done += count;
	}
	instruction.available = done;
	instruction.length = 0;
}

/** The next byte, or -1 beyond what could be read. */
export function nextByte(): number {
	if (instruction.length >= instruction.available) return -1;
	return instruction.bytes[instruction.length++] as number;
}

/** Prefixes and opcode at RIP, which {@link fetch} has read. @returns false where there is no whole instruction. */
export function decodeOpcode(vcpu: Vcpu): boolean {
	const long = vcpu.registers.longMode;
	instruction.operand16 = false;
	instruction.lock = false;
	instruction.repeat = 0;
	instruction.rex = 0;
	for (;;) {
		const byte = nextByte();
		switch (byte) {
			case -1:
				return false;
			case 0x66:
				instruction.operand16 = true;
				break;
			case 0xf0:
				instruction.lock = true;
				break;
			case 0xf2:
			case 0xf3:
				instruction.repeat = byte;
				break;
			case 0x67:
			case 0x26:
			case 0x2e:
			case 0x36:
			case 0x3e:
			case 0x64:
			case 0x65:
				break;
			default:
				if (long && (byte & 0xf0) === 0x40) {
					// REX counts only directly before the opcode.
					instruction.rex = byte;
					const opcode = nextByte();
					return opcode >= 0 && finishOpcode(opcode);
				}
				return finishOpcode(byte);
		}
	}
}

function finishOpcode(byte: number): boolean {
	if (byte !== 0x0f) {
		instruction.opcode = byte;
		return true;
	}
	const second = nextByte();
	instruction.opcode = 0x0f00 + second;
	return second >= 0;
}

/** ModRM, SIB and displacement. @returns false where bytes are missing. */
export function decodeModRm(): boolean {
	const byte = nextByte();
	if (byte < 0) return false;
	const { rex } = instruction;
	instruction.mod = byte >>> 6;
	instruction.reg = ((byte >>> 3) & 7) | ((rex & 4) << 1);
	instruction.rm = (byte & 7) | ((rex & 1) << 3);
	if (instruction.mod === 3) return true;
	let displacement = instruction.mod === 1 ? 1 : instruction.mod === 2 ? 4 : 0;
	if ((byte & 7) === 4) {
		const sib = nextByte();
		if (sib < 0) return false;
		if (instruction.mod === 0 && (sib & 7) === 5) displacement = 4;
	} else if (instruction.mod === 0 && (byte & 7) === 5) {
		displacement = 4;
	}
	return skip(displacement);
}

/** Passes over bytes whose value does not matter. */
function skip(count: number): boolean {
	instruction.length += count;
	return instruction.length <= instruction.available;
}

/** Operand size in bytes of an opcode whose lowest bit is its width. */
export function operandSize(): number {
	if ((instruction.opcode & 1) === 0) return 1;
	if ((instruction.rex & 8) !== 0) return 8;
	return instruction.operand16 ? 2 : 4;
}
