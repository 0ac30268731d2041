import { describe, expect, it } from "vitest";
import { enterMmx, leaveMmx, mmxFault, mmxOffset } from "../../../src/cpu/fpu/mmx.ts";
import {
	Component,
	fxrstor,
	fxsave,
	initialiseExtendedState,
	loadMxcsr,
	XsaveForm,
	xrstor,
	xsave,
	xsaveAreaSize,
} from "../../../src/cpu/fpu/save.ts";
import { executeX87, findX87Operation, waitOperation, x87Operations } from "../../../src/cpu/fpu/x87.ts";
import {
	CONTEXT_SIZE,
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
} from "../../../src/cpu/layout.ts";
import { FRAMES, STATE } from "../../../src/memory/map.ts";
import { Memory } from "../../../src/memory/memory.ts";

const memory = new Memory(2);
const AREA = FRAMES;
const OTHER = FRAMES + 4096;
const ALL = Component.x87 | Component.sse | Component.avx;

/** A state in which nothing is initial: TOP is 5, two registers are in use. */
function busyState(xcr0: number): void {
	memory.fill(STATE, CONTEXT_SIZE, 0);
	memory.setU8(STATE + LONG_MODE, 1);
	memory.setU32(STATE + XCR0, xcr0);
	memory.setU32(STATE + MXCSR, 0x9fc0);
	memory.setU16(STATE + X87_CONTROL, 0x27f);
	memory.setU16(STATE + X87_STATUS, 0x4122);
	memory.setU8(STATE + X87_TOP, 5);
	memory.setU8(STATE + X87_TAGS, 0x60);
	memory.setU16(STATE + X87_OPCODE, 0x5d8);
	memory.setU32(STATE + X87_INSTRUCTION_POINTER, 0x8123_4567);
	memory.setU32(STATE + X87_INSTRUCTION_POINTER + 4, 0xffff_ffff);
	memory.setU32(STATE + X87_DATA_POINTER, 0x89ab_cdef);
	memory.setU32(STATE + X87_DATA_POINTER + 4, 0x7fff);
	for (let i = 0; i < 8; i++) {
		memory.setU32(STATE + X87_REGISTERS + i * 16, 0x1000 + i);
		memory.setU32(STATE + X87_REGISTERS + i * 16 + 4, 0x8000_0000 + i);
		memory.setU16(STATE + X87_REGISTERS + i * 16 + 8, 0x3fff + i);
	}
	for (let i = 0; i < 256; i++) {
		memory.setU8(STATE + XMM + i, i);
		memory.setU8(STATE + YMM_HIGH + i, 255 - i);
	}
}

function stateBytes(): Buffer {
	return Buffer.from(memory.bytes.subarray(STATE, STATE + CONTEXT_SIZE));
}

function clear(): void {
	memory.fill(AREA, 4096, 0);
}

describe("FXSAVE", () => {
	it("lays out the 64-bit image", () => {
		busyState(3);
		memory.fill(AREA, 4096, 0xee);
		fxsave(memory, STATE, AREA, true);
		expect(memory.u16(AREA)).toBe(0x27f);
		expect(memory.u16(AREA + 2)).toBe(0x4122 | (5 << 11));
		expect(memory.u16(AREA + 4)).toBe(0x60);
		expect(memory.u16(AREA + 6)).toBe(0x5d8);
		expect(memory.big(AREA + 8)).toBe(0xffff_ffff_8123_4567n);
		expect(memory.big(AREA + 16)).toBe(0x7fff_89ab_cdefn);
		expect(memory.u32(AREA + 24)).toBe(0x9fc0);
		expect(memory.u32(AREA + 28)).toBe(0xffff);
		// ST(0) is physical register 5, ST(3) physical register 0.
		expect(memory.big(AREA + 32)).toBe(0x8000_0005_0000_1005n);
		expect(memory.big(AREA + 40)).toBe(0x4004n);
		expect(memory.big(AREA + 32 + 48)).toBe(0x8000_0000_0000_1000n);
		expect(memory.u8(AREA + 160 + 255)).toBe(255);
		expect(memory.u8(AREA + 416)).toBe(0xee);
		expect(memory.u8(AREA + 511)).toBe(0xee);
	});

	it("comes back as it was", () => {
		busyState(3);
		const before = stateBytes();
		fxsave(memory, STATE, AREA, true);
		initialiseExtendedState(memory, STATE);
		memory.copy(STATE + YMM_HIGH, OTHER, 0);
		expect(fxrstor(memory, STATE, AREA, true)).toBe(0);
		for (let i = 0; i < 256; i++) {
			memory.setU8(STATE + YMM_HIGH + i, 255 - i);
		}
		expect(stateBytes().equals(before)).toBe(true);
	});

	it("saves half the pointers in the 32-bit format, and eight XMM registers in compatibility mode", () => {
		busyState(3);
		memory.setU8(STATE + LONG_MODE, 0);
		memory.fill(AREA, 4096, 0xee);
		fxsave(memory, STATE, AREA, false);
		expect(memory.big(AREA + 8)).toBe(0x8123_4567n);
		expect(memory.big(AREA + 16)).toBe(0x89ab_cdefn);
		expect(memory.u8(AREA + 160 + 127)).toBe(127);
		expect(memory.u8(AREA + 160 + 128)).toBe(0xee);
	});

	it("refuses reserved bits of MXCSR and changes nothing", () => {
		busyState(3);
		fxsave(memory, STATE, AREA, true);
		memory.setU32(AREA + 24, 0x1_0000);
		memory.setU16(AREA, 0x37f);
		const before = stateBytes();
		expect(fxrstor(memory, STATE, AREA, true)).toBe(13);
		expect(stateBytes().equals(before)).toBe(true);
		expect(loadMxcsr(memory, STATE, 0x1_0000)).toBe(13);
		expect(loadMxcsr(memory, STATE, 0x1f80)).toBe(0);
	});

	it("derives the error summary from what it loads", () => {
		busyState(3);
		fxsave(memory, STATE, AREA, true);
		memory.setU16(AREA, 0x37e);
		memory.setU16(AREA + 2, 0x0001);
		fxrstor(memory, STATE, AREA, true);
		expect(memory.u16(STATE + X87_STATUS)).toBe(0x8081);
		memory.setU16(AREA, 0x37f);
		memory.setU16(AREA + 2, 0x8081);
		fxrstor(memory, STATE, AREA, true);
		expect(memory.u16(STATE + X87_STATUS)).toBe(0x0001);
	});
});

describe("XSAVE", () => {
	it("needs room by XCR0", () => {
		expect(xsaveAreaSize(3)).toBe(576);
		expect(xsaveAreaSize(7)).toBe(832);
		expect(xsaveAreaSize(7, true)).toBe(832);
	});

	it.each([
		["XSAVE", XsaveForm.xsave],
		["XSAVEOPT", XsaveForm.xsaveopt],
		["XSAVEC", XsaveForm.xsavec],
	])("%s comes back as it was", (_name, form) => {
		busyState(ALL);
		const before = stateBytes();
		clear();
		xsave(memory, STATE, AREA, 0xffff_ffff, true, form);
		expect(memory.big(AREA + 512)).toBe(7n);
		expect(memory.big(AREA + 520)).toBe(form === XsaveForm.xsavec ? 0x8000_0000_0000_0007n : 0n);
		initialiseExtendedState(memory, STATE);
		expect(xrstor(memory, STATE, AREA, 0xffff_ffff, true)).toBe(0);
		expect(stateBytes().equals(before)).toBe(true);
	});

	it("saves only what XCR0 and the mask both name, and keeps the other bits of XSTATE_BV", () => {
		busyState(3);
		memory.fill(AREA, 4096, 0xee);
		memory.setBig(AREA + 512, 1n);
		xsave(memory, STATE, AREA, Component.sse | Component.avx, true, XsaveForm.xsave);
		expect(memory.big(AREA + 512)).toBe(3n);
		expect(memory.u16(AREA)).toBe(0xeeee);
		expect(memory.u32(AREA + 24)).toBe(0x9fc0);
		expect(memory.u8(AREA + 161)).toBe(1);
		expect(memory.u8(AREA + 576)).toBe(0xee);
	});

	it("leaves out initial components where the form may, and clears their bits", () => {
		busyState(ALL);
		initialiseExtendedState(memory, STATE);
		memory.setU8(STATE + YMM_HIGH, 1);
		for (const form of [XsaveForm.xsaveopt, XsaveForm.xsavec]) {
			memory.fill(AREA, 4096, 0xee);
			memory.setBig(AREA + 512, 7n);
			xsave(memory, STATE, AREA, ALL, true, form);
			expect(memory.big(AREA + 512)).toBe(4n);
			expect(memory.u8(AREA)).toBe(0xee);
			expect(memory.u8(AREA + 160)).toBe(0xee);
			expect(memory.u8(AREA + 576)).toBe(1);
		}
	});

	it("packs the compacted format and finds its components again", () => {
		busyState(ALL);
		clear();
		xsave(memory, STATE, AREA, Component.avx, true, XsaveForm.xsavec);
		expect(memory.big(AREA + 520)).toBe(0x8000_0000_0000_0004n);
		memory.fill(STATE + YMM_HIGH, 256, 0);
		expect(xrstor(memory, STATE, AREA, Component.avx | Component.sse, true)).toBe(0);
		expect(memory.u8(STATE + YMM_HIGH + 1)).toBe(254);
		// SSE was asked for but is not in the image: initial, MXCSR too.
		expect(memory.u8(STATE + XMM + 1)).toBe(0);
		expect(memory.u32(STATE + MXCSR)).toBe(0x1f80);
	});

	it("initialises what the image lacks", () => {
		busyState(ALL);
		clear();
		memory.setU32(AREA + 24, 0x1f80);
		expect(xrstor(memory, STATE, AREA, ALL, true)).toBe(0);
		expect(memory.u16(STATE + X87_CONTROL)).toBe(0x37f);
		expect(memory.u8(STATE + X87_TAGS)).toBe(0);
		expect(memory.big(STATE + X87_REGISTERS)).toBe(0n);
		expect(memory.big(STATE + XMM)).toBe(0n);
		expect(memory.big(STATE + YMM_HIGH)).toBe(0n);
	});

	it.each([
		["XSTATE_BV beyond XCR0", 512, 4],
		["XSTATE_BV's upper half", 516, 1],
		["XCOMP_BV in the standard format", 520, 1],
		["reserved bytes of the header", 528, 1],
		["MXCSR", 24, 0x1_0000],
		["a compacted format beyond XCR0", 520, 4, 0x8000_0000],
		["XSTATE_BV beyond XCOMP_BV", 512, 1, 0x8000_0000],
		["reserved bytes of a compacted header", 528, 1, 0x8000_0000],
		["reserved bits of XCOMP_BV", 520, 0, 0xc000_0000],
	])("XRSTOR refuses %s", (_name, offset, value, compacted = 0) => {
		busyState(3);
		const before = stateBytes();
		clear();
		memory.setU32(AREA + 24, 0x1f80);
		memory.setU32(AREA + 524, compacted);
		memory.setU32(AREA + offset, value);
		expect(xrstor(memory, STATE, AREA, 0xffff_ffff, true)).toBe(13);
		expect(stateBytes().equals(before)).toBe(true);
	});
});

describe("pending exceptions", () => {
	it("stop exactly the instructions that wait", () => {
		let waiting = 0;
		for (const [index, operation] of x87Operations.entries()) {
			initialiseExtendedState(memory, STATE);
			clear();
			memory.setU16(STATE + X87_CONTROL, 0x37e);
			memory.setU16(STATE + X87_STATUS, 0x8081);
			const before = stateBytes();
			const result = executeX87(memory, STATE, index, operation.operand === "sti" ? 1 : AREA);
			expect(result, operation.name).toBe(operation.waits ? 16 : 0);
			if (operation.waits) {
				waiting++;
				expect(stateBytes().equals(before), operation.name).toBe(true);
			}
			expect(operation.waits, operation.name).toBe(!operation.name.startsWith("FN") || operation.name === "FNOP");
		}
		expect(waiting).toBeGreaterThan(100);
		expect(x87Operations.includes(waitOperation)).toBe(true);
	});

	it("knows the opcodes that do not exist", () => {
		const undefinedForms = [
			[0xd9, 0x08],
			[0xd9, 0xd1],
			[0xd9, 0xe2],
			[0xd9, 0xef],
			[0xda, 0xe0],
			[0xdb, 0x20],
			[0xdb, 0xe5],
			[0xdb, 0xff],
			[0xdd, 0x28],
			[0xdd, 0xf0],
			[0xde, 0xda],
			[0xdf, 0xe1],
			[0xdf, 0xf8],
		] as const;
		for (const [opcode, modrm] of undefinedForms) {
			expect(findX87Operation(opcode, modrm, false), `${opcode.toString(16)} ${modrm.toString(16)}`).toBe(-1);
		}
		expect(x87Operations[findX87Operation(0xd9, 0x30, true)]?.size).toBe(14);
		expect(x87Operations[findX87Operation(0xdd, 0x30, false)]?.size).toBe(108);
	});
});

describe("MMX", () => {
	it("is the significands of the physical registers", () => {
		busyState(3);
		expect(mmxFault(memory, STATE)).toBe(0);
		enterMmx(memory, STATE);
		expect(memory.u8(STATE + X87_TOP)).toBe(0);
		expect(memory.u8(STATE + X87_TAGS)).toBe(0xff);
		expect(memory.u16(STATE + X87_STATUS)).toBe(0x4122);
		expect(memory.u32(STATE + mmxOffset(3))).toBe(0x1003);
		leaveMmx(memory, STATE);
		expect(memory.u8(STATE + X87_TAGS)).toBe(0);
		memory.setU16(STATE + X87_STATUS, 0x8081);
		expect(mmxFault(memory, STATE)).toBe(16);
	});
});
