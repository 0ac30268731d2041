/**
 * FXSAVE, FXRSTOR and the XSAVE family: images of the extended processor state (SDM volume 1, chapters 10.5 and 13). What may be saved
 * is the table {@link stateComponents}; which of it exists is XCR0. Relies on layout.ts for the state.
 *
 * Callers translate the address, check its alignment (16 bytes for FXSAVE, 64 for XSAVE: #GP) and CR0.TS (#NM), and give a linear
 * address of {@link FXSAVE_SIZE} or {@link xsaveAreaSize} bytes. A private copy of a page-crossing area must hold the old bytes
 * before a save too: saves leave reserved and unrequested fields alone. Results are 0 or a vector.
 */

import type { Memory } from "../../memory/memory.ts";
import {
	LONG_MODE,
	MXCSR,
	X87_CONTROL,
	X87_DATA_POINTER,
	X87_INSTRUCTION_POINTER,
	X87_OPCODE,
	X87_REGISTERS,
	X87_STATUS,
	X87_TAGS,
	X87_TOP,
	XCR0,
	XMM,
	YMM_HIGH,
} from "../layout.ts";
import { Vector } from "../processor.ts";
import { initialise, setControlWord, setStatusWord, statusWord } from "./environment.ts";

export const FXSAVE_SIZE = 512;
/** Bits of MXCSR that may be set: all but the upper half (MXCSR_MASK of the image). */
export const MXCSR_MASK = 0xffff;
export const MXCSR_INITIAL = 0x1f80;

/** Offsets in the legacy area. */
const Legacy = {
	control: 0,
	status: 2,
	tags: 4,
	opcode: 6,
	instructionPointer: 8,
	dataPointer: 16,
	mxcsr: 24,
	mxcsrMask: 28,
	registers: 32,
	xmm: 160,
} as const;

const HEADER = 512;
const XCOMP_BV = HEADER + 8;
const EXTENDED_REGION = 576;
/** Bit 63 of XCOMP_BV, in its upper half: the compacted format. */
const COMPACTED = 0x8000_0000;

/** Bits of XCR0 and XSTATE_BV. */
export const Component = { x87: 1, sse: 2, avx: 4 } as const;

/** A component of the state that XSAVE knows. `wide` is REX.W: pointers of 64 bits. */
export interface StateComponent {
	readonly bit: number;
	/** Place in the standard format; 0 for what lies in the legacy area. */
	readonly offset: number;
	readonly size: number;
	save(memory: Memory, base: number, address: number, wide: boolean): void;
	restore(memory: Memory, base: number, address: number, wide: boolean): void;
	initialise(memory: Memory, base: number): void;
	/** Whether it differs from its initial configuration (XINUSE). */
	inUse(memory: Memory, base: number): boolean;
}

/** XMM and YMM registers that the mode reaches: the upper eight only in 64-bit mode. */
function vectorBytes(memory: Memory, base: number): number {
	return memory.u8(base + LONG_MODE) !== 0 ? 256 : 128;
}

function isZero(memory: Memory, address: number, length: number): boolean {
	for (let offset = 0; offset < length; offset += 4) {
		if (memory.u32(address + offset) !== 0) {
			return false;
		}
	}
	return true;
}

function saveX87(memory: Memory, base: number, address: number, wide: boolean): void {
	memory.setU16(address + Legacy.control, memory.u16(base + X87_CONTROL));
	memory.setU16(address + Legacy.status, statusWord(memory, base));
	memory.setU16(address + Legacy.tags, memory.u8(base + X87_TAGS));
	memory.setU16(address + Legacy.opcode, memory.u16(base + X87_OPCODE));
	memory.copy(address + Legacy.instructionPointer, base + X87_INSTRUCTION_POINTER, 8);
	memory.copy(address + Legacy.dataPointer, base + X87_DATA_POINTER, 8);
	if (!wide) {
		// Selectors, which are stored as 0 as where CPUID.7.EBX[13] says so.
		memory.setU32(address + Legacy.instructionPointer + 4, 0);
		memory.setU32(address + Legacy.dataPointer + 4, 0);
	}
	const top = memory.u8(base + X87_TOP);
	for (let i = 0; i < 8; i++) {
		const to = address + Legacy.registers + i * 16;
		memory.copy(to, base + X87_REGISTERS + ((top + i) & 7) * 16, 10);
		memory.setU16(to + 10, 0);
		memory.setU32(to + 12, 0);
	}
}

function restoreX87(memory: Memory, base: number, address: number, wide: boolean): void {
	setControlWord(memory, base, memory.u16(address + Legacy.control));
	setStatusWord(memory, base, memory.u16(address + Legacy.status));
	memory.setU8(base + X87_TAGS, memory.u8(address + Legacy.tags));
	memory.setU16(base + X87_OPCODE, memory.u16(address + Legacy.opcode) & 0x7ff);
	memory.copy(base + X87_INSTRUCTION_POINTER, address + Legacy.instructionPointer, 8);
	memory.copy(base + X87_DATA_POINTER, address + Legacy.dataPointer, 8);
	if (!wide) {
		memory.setU32(base + X87_INSTRUCTION_POINTER + 4, 0);
		memory.setU32(base + X87_DATA_POINTER + 4, 0);
	}
	const top = memory.u8(base + X87_TOP);
	for (let i = 0; i < 8; i++) {
		memory.copy(base + X87_REGISTERS + ((top + i) & 7) * 16, address + Legacy.registers + i * 16, 10);
	}
}

const x87: StateComponent = {
	bit: Component.x87,
	offset: 0,
	size: 160,
	save: saveX87,
	restore: restoreX87,
	initialise(memory, base) {
		initialise(memory, base);
		memory.fill(base + X87_REGISTERS, 128, 0);
	},
	inUse(memory, base) {
		const initial =
			memory.u16(base + X87_CONTROL) === 0x37f &&
			memory.u16(base + X87_STATUS) === 0 &&
			memory.u16(base + X87_TOP) === 0 &&
			memory.u16(base + X87_OPCODE) === 0;
		return (
			!initial || !isZero(memory, base + X87_INSTRUCTION_POINTER, 16) || !isZero(memory, base + X87_REGISTERS, 128)
		);
	},
};

/** XMM0..15; MXCSR, which AVX shares, has its own rules. */
const sse: StateComponent = {
	bit: Component.sse,
	offset: 0,
	size: 256,
	save(memory, base, address) {
		memory.copy(address + Legacy.xmm, base + XMM, vectorBytes(memory, base));
	},
	restore(memory, base, address) {
		memory.copy(base + XMM, address + Legacy.xmm, vectorBytes(memory, base));
	},
	initialise(memory, base) {
		memory.fill(base + XMM, vectorBytes(memory, base), 0);
	},
	inUse(memory, base) {
		return !isZero(memory, base + XMM, vectorBytes(memory, base));
	},
};

/** Upper halves of YMM0..15. */
const avx: StateComponent = {
	bit: Component.avx,
	offset: EXTENDED_REGION,
	size: 256,
	save(memory, base, address) {
		memory.copy(address, base + YMM_HIGH, vectorBytes(memory, base));
	},
	restore(memory, base, address) {
		memory.copy(base + YMM_HIGH, address, vectorBytes(memory, base));
	},
	initialise(memory, base) {
		memory.fill(base + YMM_HIGH, vectorBytes(memory, base), 0);
	},
	inUse(memory, base) {
		return !isZero(memory, base + YMM_HIGH, vectorBytes(memory, base));
	},
};

/** In the order of their bits, which is that of the compacted format. */
export const stateComponents: readonly StateComponent[] = [x87, sse, avx];

/** Bytes of an XSAVE area for the components of `xcr0`: CPUID.0DH EBX, or in the compacted format CPUID.0DH.1 EBX. */
export function xsaveAreaSize(xcr0: number, compacted = false): number {
	let size = EXTENDED_REGION;
	for (const component of stateComponents) {
		if (component.offset !== 0 && (xcr0 & component.bit) !== 0) {
			size = compacted ? size + component.size : component.offset + component.size;
		}
	}
	return size;
}

/** Sets everything that XSAVE may save to its initial configuration, MXCSR too: the state of a new vCPU. */
export function initialiseExtendedState(memory: Memory, base: number): void {
	initialise(memory, base);
	memory.fill(base + X87_REGISTERS, 128, 0);
	memory.fill(base + XMM, 512, 0);
	memory.setU32(base + MXCSR, MXCSR_INITIAL);
}

function saveMxcsr(memory: Memory, base: number, address: number): void {
	memory.setU32(address + Legacy.mxcsr, memory.u32(base + MXCSR));
	memory.setU32(address + Legacy.mxcsrMask, MXCSR_MASK);
}

function hasReservedMxcsr(memory: Memory, address: number): boolean {
	return memory.u32(address + Legacy.mxcsr) > MXCSR_MASK;
}

/** FXSAVE, or with `wide` FXSAVE64. */
export function fxsave(memory: Memory, base: number, address: number, wide: boolean): void {
	saveX87(memory, base, address, wide);
	saveMxcsr(memory, base, address);
	sse.save(memory, base, address, wide);
}

/** FXRSTOR, or with `wide` FXRSTOR64. @returns 0, or #GP where the image sets reserved bits of MXCSR. */
export function fxrstor(memory: Memory, base: number, address: number, wide: boolean): number {
	if (hasReservedMxcsr(memory, address)) {
		return Vector.generalProtection;
	}
	restoreX87(memory, base, address, wide);
	memory.setU32(base + MXCSR, memory.u32(address + Legacy.mxcsr));
	sse.restore(memory, base, address, wide);
	return 0;
}

/**
 * LDMXCSR's check and effect.
 * @returns 0, or #GP for reserved bits.
 */
export function loadMxcsr(memory: Memory, base: number, value: number): number {
	if (value > MXCSR_MASK) {
		return Vector.generalProtection;
	}
	memory.setU32(base + MXCSR, value);
	return 0;
}

/** Place of a component in an image: its own, or behind the others of the compacted format. */
function componentAddress(component: StateComponent, address: number, compactedOffset: number): number {
	return component.offset === 0 ? address : address + (compactedOffset === 0 ? component.offset : compactedOffset);
}

/** XSAVE, XSAVEOPT and XSAVEC differ in what they leave out and in the format. */
export const XsaveForm = { xsave: 0, xsaveopt: 1, xsavec: 2 } as const;
export type XsaveForm = (typeof XsaveForm)[keyof typeof XsaveForm];

/**
 * Saves the components that both XCR0 and the instruction's mask (EAX) ask for. XSAVEOPT and XSAVEC leave out those in their initial
 * configuration; the modified optimisation of XSAVEOPT is optional and not made.
 */
export function xsave(
	memory: Memory,
	base: number,
	address: number,
	mask: number,
	wide: boolean,
	form: XsaveForm,
): void {
	const requested = memory.u32(base + XCR0) & mask;
	const compacted = form === XsaveForm.xsavec;
	let inUse = 0;
	let compactedOffset = compacted ? EXTENDED_REGION : 0;
	for (const component of stateComponents) {
		if ((requested & component.bit) === 0) {
			continue;
		}
		let used = component.inUse(memory, base);
		if (compacted && component.bit === Component.sse && memory.u32(base + MXCSR) !== MXCSR_INITIAL) {
			used = true;
		}
		if (used) {
			inUse |= component.bit;
		}
		if (used || form === XsaveForm.xsave) {
			component.save(memory, base, componentAddress(component, address, compactedOffset), wide);
		}
		if (compacted && component.offset !== 0) {
			compactedOffset += component.size;
		}
	}
	const withMxcsr = compacted ? inUse & Component.sse : requested & (Component.sse | Component.avx);
	if (withMxcsr !== 0) {
		saveMxcsr(memory, base, address);
	}
	if (compacted) {
		memory.setU32(address + HEADER, inUse);
		memory.setU32(address + HEADER + 4, 0);
		memory.setU32(address + XCOMP_BV, requested);
		memory.setU32(address + XCOMP_BV + 4, COMPACTED);
	} else {
		memory.setU32(address + HEADER, ((memory.u32(address + HEADER) & ~requested) | inUse) >>> 0);
	}
}

/**
 * XRSTOR: loads the requested components that the image has, initialises those it has not. Both formats.
 * @returns 0, or #GP, with nothing changed, for a header or an MXCSR that the manual forbids
 */
export function xrstor(memory: Memory, base: number, address: number, mask: number, wide: boolean): number {
	const xcr0 = memory.u32(base + XCR0);
	const requested = xcr0 & mask;
	const present = memory.u32(address + HEADER);
	const layout = memory.u32(address + XCOMP_BV);
	const layoutHigh = memory.u32(address + XCOMP_BV + 4);
	const compacted = layoutHigh >= COMPACTED;
	let forbidden: boolean;
	if (compacted) {
		forbidden =
			layoutHigh !== COMPACTED ||
			(layout & ~xcr0) !== 0 ||
			(present & ~layout) !== 0 ||
			!isZero(memory, address + HEADER + 16, 48);
	} else {
		forbidden = (present & ~xcr0) !== 0 || !isZero(memory, address + XCOMP_BV, 16);
	}
	// In the standard format MXCSR is loaded whatever XSTATE_BV says; in the compacted one it belongs to SSE.
	const loadsMxcsr = compacted ? requested & present & Component.sse : requested & (Component.sse | Component.avx);
	if (forbidden || memory.u32(address + HEADER + 4) !== 0 || (loadsMxcsr !== 0 && hasReservedMxcsr(memory, address))) {
		return Vector.generalProtection;
	}
	let compactedOffset = compacted ? EXTENDED_REGION : 0;
	for (const component of stateComponents) {
		if ((requested & component.bit) !== 0) {
			if ((present & component.bit) !== 0) {
				component.restore(memory, base, componentAddress(component, address, compactedOffset), wide);
			} else {
				component.initialise(memory, base);
			}
		}
		if (compacted && component.offset !== 0 && (layout & component.bit) !== 0) {
			compactedOffset += component.size;
		}
	}
	if (loadsMxcsr !== 0) {
		memory.setU32(base + MXCSR, memory.u32(address + Legacy.mxcsr));
	} else if (compacted && (requested & Component.sse) !== 0) {
		memory.setU32(base + MXCSR, MXCSR_INITIAL);
	}
	return 0;
}
