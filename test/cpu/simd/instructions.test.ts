/**
 * SIMD instructions where the host's processor cannot be asked: control registers, and results that must not depend on what the host's
 * WebAssembly makes of NaNs. The oracle (test/cpu/oracle) tests every form against hardware.
 */
import { beforeEach, describe, expect, it } from "vitest";
import * as layout from "../../../src/cpu/layout.ts";
import { Vector } from "../../../src/cpu/processor.ts";
import { Gpr } from "../../../src/cpu/registers.ts";
import { DATA, Machine } from "./machine.ts";

const machine = new Machine();
const { memory, registers } = machine;

const CR0 = 0x8005_0033;
const CR0_EM = 4;
const CR0_TS = 8;
const CR4 = 0x660;
const CR4_OSXMMEXCPT = 0x400;
const USUAL = 0x1f80;
const PE = 0x20;

beforeEach(() => {
	registers.setControl(layout.CR0, CR0);
	registers.setControl(layout.CR4, CR4);
	registers.setHalves(Gpr.rdi, DATA, 0);
	machine.mxcsr = USUAL;
	memory.setU16(layout.STATE + layout.X87_STATUS, 0);
	for (let register = 0; register < 16; register++) machine.setXmm(register, 0n);
});

describe("availability", () => {
	const USING = {
		"addps xmm0, xmm1": "0f 58 c1",
		"paddb mm0, mm1": "0f fc c1",
		"movups xmm0, [rdi]": "0f 10 07",
		emms: "0f 77",
		"ldmxcsr [rdi]": "0f ae 17",
		"pcmpistri xmm0, xmm1, 0": "66 0f 3a 63 c1 00",
	};
	const NOT_USING = {
		"crc32 eax, bl": "f2 0f 38 f0 c3",
		"movnti [rdi], eax": "0f c3 07",
		"prefetcht0 [rdi]": "0f 18 0f",
		sfence: "0f ae f8",
		"clflush [rdi]": "0f ae 3f",
	};

	it.each(Object.entries(USING))("%s is #NM with CR0.TS, #UD with CR0.EM", (_, code) => {
		memory.setU32(machine.data, USUAL);
		expect(machine.run(code)).toBe("completed");
		registers.setControl(layout.CR0, CR0 | CR0_TS);
		expect(machine.run(code)).toBe(Vector.deviceNotAvailable);
		registers.setControl(layout.CR0, CR0 | CR0_TS | CR0_EM);
		expect(machine.run(code)).toBe(Vector.invalidOpcode);
	});

	it.each(Object.entries(NOT_USING))("%s does not use the registers", (_, code) => {
		registers.setControl(layout.CR0, CR0 | CR0_TS | CR0_EM);
		expect(machine.run(code)).toBe("completed");
	});

	it("prefetches may name any address", () => {
		registers.setHalves(Gpr.rdi, 0, 0x1234_0000);
		expect(machine.run("0f 18 0f")).toBe("completed");
	});

	it("reports a pending x87 exception before MMX, not before SSE", () => {
		memory.setU16(layout.STATE + layout.X87_STATUS, 0x80);
		expect(machine.run("0f fc c1")).toBe(Vector.x87);
		expect(machine.run("66 0f fc c1")).toBe("completed");
	});
});

describe("MXCSR", () => {
	it("refuses reserved bits", () => {
		memory.setU32(machine.data, 0x1_0000 | USUAL);
		expect(machine.run("0f ae 17")).toBe(Vector.generalProtection);
		expect(machine.mxcsr).toBe(USUAL);
	});

	it("raises unmasked exceptions as #XM, or #UD where the system does not know them", () => {
		machine.mxcsr = USUAL & ~0x200;
		machine.setXmm(0, 0x3f80_0000n);
		expect(machine.run("f3 0f 5e c1")).toBe(Vector.simd);
		expect(machine.mxcsr).toBe((USUAL & ~0x200) | 4);
		expect(machine.xmm(0)).toBe(0x3f80_0000n);
		registers.setControl(layout.CR4, CR4 & ~CR4_OSXMMEXCPT);
		expect(machine.run("f3 0f 5e c1")).toBe(Vector.invalidOpcode);
	});

	it("records inexact results", () => {
		machine.setXmm(0, 0x3ff0_0000_0000_0000n);
		machine.setXmm(1, 0x4008_0000_0000_0000n);
		expect(machine.run("f2 0f 59 c1")).toBe("completed");
		expect(machine.mxcsr).toBe(USUAL);
		expect(machine.run("f2 0f 5e c1 f2 0f 5e c1")).toBe("completed");
		expect(machine.mxcsr).toBe(USUAL | PE);
	});
});

describe("NaNs", () => {
	const CASES: readonly [string, string, bigint, bigint, bigint][] = [
		["inf - inf", "f3 0f 5c c1", 0x7f80_0000n, 0x7f80_0000n, 0xffc0_0000n],
		["0 / 0", "f2 0f 5e c1", 0n, 0n, 0xfff8_0000_0000_0000n],
		["sqrt(-1)", "f3 0f 51 c1", 0n, 0xbf80_0000n, 0xffc0_0000n],
		["first NaN wins, quieted", "f3 0f 58 c1", 0x7fa0_0001n, 0xffc0_1234n, 0x7fe0_0001n],
		["second NaN", "f3 0f 58 c1", 0x3f80_0000n, 0xff80_0001n, 0xffc0_0001n],
		["min with a NaN is the second", "f3 0f 5d c1", 0x7fc0_0001n, 0x3f80_0000n, 0x3f80_0000n],
		["max with a signalling NaN second", "f3 0f 5f c1", 0x3f80_0000n, 0x7f80_0001n, 0x7f80_0001n],
		["min of zeros is the second", "f3 0f 5d c1", 0n, 0x8000_0000n, 0x8000_0000n],
		["cvtss2sd of a signalling NaN", "f3 0f 5a c1", 0n, 0xff80_0001n, 0xfff8_0000_2000_0000n],
		["cvtps2dq beyond i32", "66 0f 5b c1", 0n, 0x4f00_0000n, 0x8000_0000n],
	];
	for (const mxcsr of [USUAL, USUAL | PE, USUAL | 0x8040]) {
		it.each(CASES)(`%s, MXCSR ${mxcsr.toString(16)}`, (_, code, first, second, expected) => {
			machine.mxcsr = mxcsr;
			machine.setXmm(0, first);
			machine.setXmm(1, second);
			expect(machine.run(code)).toBe("completed");
			expect(machine.xmm(0)).toBe(expected);
			expect(machine.mxcsr & ~1).toBe(mxcsr);
		});
	}
});

it("CRC32 of the check string", () => {
	const text = new TextEncoder().encode("123456789");
	memory.bytes.set(text, machine.data);
	registers.setHalves(Gpr.rax, 0xffff_ffff, 0);
	expect(machine.run("f2 48 0f 38 f1 07 f2 0f 38 f0 47 08")).toBe("completed");
	expect(~registers.low(Gpr.rax) >>> 0).toBe(0xe306_9283);
});

it("PCMPISTRI finds a character of a set", () => {
	const text = (value: string): bigint =>
		[...new TextEncoder().encode(value)].reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
	machine.setXmm(0, text("xyz"));
	machine.setXmm(1, text("abcdefy"));
	expect(machine.run("66 0f 3a 63 c1 00")).toBe("completed");
	expect(registers.low(Gpr.rcx)).toBe(6);
	// CF: found; ZF and SF: both strings end within 16 bytes.
	expect(registers.rflags & 0x8d5).toBe(0x0c1);
});
