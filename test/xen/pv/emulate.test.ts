import { beforeEach, describe, expect, it } from "vitest";
import { CR0, CR4, TSC_AUX, XCR0 } from "../../../src/cpu/layout.ts";
import { Vector } from "../../../src/cpu/processor.ts";
import { Flag, Gpr, Segment } from "../../../src/cpu/registers.ts";
import { raise } from "../fake-processor.ts";
import { CODE, createTrapGuest, STACK_TOP, TABLE, type TrapGuest } from "../trap-guest.ts";

const GP_HANDLER = CODE + 0x800;
const UD_HANDLER = CODE + 0x810;
const PF_HANDLER = CODE + 0x820;
const DB_HANDLER = CODE + 0x830;

let guest: TrapGuest;

beforeEach(() => {
	guest = createTrapGuest();
	for (const [vector, address] of [
		[1, DB_HANDLER],
		[6, UD_HANDLER],
		[13, GP_HANDLER],
		[14, PF_HANDLER],
	] as const) {
		const entry = guest.vcpu.traps[vector];
		if (entry !== undefined) entry.address = address;
	}
});

/** Executes an instruction that the processor refuses with #GP (or another vector). */
function execute(bytes: readonly number[], vector: number = Vector.generalProtection, errorCode = 0, cr2 = 0): void {
	const { registers, memory } = guest;
	registers.rip = CODE;
	registers.set(Gpr.rsp, STACK_TOP - 0x100);
	guest.code(...bytes);
	guest.run(() => raise(registers, memory, vector, errorCode, cr2));
}
/** Expects that it was emulated. */
function emulates(...bytes: number[]): void {
	execute(bytes);
	expect(guest.registers.rip).toBe(CODE + bytes.length);
}
/** Expects that the guest gets #GP. */
function faults(...bytes: number[]): void {
	execute(bytes);
	expect(guest.registers.rip).toBe(GP_HANDLER);
}

describe("model-specific registers", () => {
	function read(register: number): number {
		guest.registers.set(Gpr.rcx, register);
		guest.registers.set(Gpr.rax, -1);
		guest.registers.set(Gpr.rdx, -1);
		emulates(0x0f, 0x32);
		return guest.registers.get(Gpr.rdx) * 2 ** 32 + guest.registers.get(Gpr.rax);
	}
	function write(register: number, low: number, high = 0): void {
		guest.registers.set(Gpr.rcx, register);
		guest.registers.set(Gpr.rax, low);
		guest.registers.set(Gpr.rdx, high);
	}

	it("that Xen shows to PV guests can be read", () => {
		expect(read(0xc000_0080)).toBe(0xd01);
		expect(read(0x1b)).toBe(0xfee0_0900);
		expect(read(0x1a0) & 0x801).toBe(0x801);
		expect(read(0x179) & 0xff).toBe(2);
		expect(read(0x10)).toBe(guest.hypervisor.clock.tsc());
	});

	it("of segment bases and TSC_AUX can be written", () => {
		write(0xc000_0100, 0x1000, 1);
		emulates(0x0f, 0x30);
		expect(guest.registers.segmentBase(Segment.fs)).toBe(2 ** 32 + 0x1000);
		write(0xc000_0102, 0x2000);
		emulates(0x0f, 0x30);
		expect(guest.vcpu.gsBaseUser).toBe(0x2000);
		write(0xc000_0103, 7);
		emulates(0x0f, 0x30);
		expect(guest.registers.control(TSC_AUX)).toBe(7);
	});

	it("that do not exist, or values that may not be, are #GP", () => {
		guest.registers.set(Gpr.rcx, 0x12345);
		faults(0x0f, 0x32);
		faults(0x0f, 0x30);
		write(0xc000_0100, 0, 0x8000);
		faults(0x0f, 0x30);
		write(0xc000_0080, 0);
		faults(0x0f, 0x30);
		write(0x8b, 1);
		faults(0x0f, 0x30);
	});

	it("read as 0 while the guest has no #GP handler", () => {
		(guest.vcpu.traps[13] as { address: number }).address = 0;
		expect(read(0x12345)).toBe(0);
	});

	it("are not for programs", () => {
		guest.vcpu.kernelMode = false;
		guest.registers.addressSpace = 1;
		guest.registers.set(Gpr.rcx, 0xc000_0080);
		faults(0x0f, 0x32);
	});
});

describe("control and debug registers", () => {
	it("are read and written as far as they are the guest's", () => {
		const { registers, vcpu } = guest;
		emulates(0x0f, 0x20, 0xc3);
		expect(registers.get(Gpr.rbx)).toBe(0x8005_0033);
		emulates(0x41, 0x0f, 0x20, 0xd9);
		expect(registers.get(Gpr.r9)).toBe(vcpu.kernelRoot * 4096);
		registers.set(Gpr.rax, 0x8005_003b);
		emulates(0x0f, 0x22, 0xc0);
		expect(registers.control(CR0)).toBe(0x8005_003b);
		emulates(0x0f, 0x06);
		expect(registers.control(CR0)).toBe(0x8005_0033);
		registers.set(Gpr.rax, 0x8005_0032);
		faults(0x0f, 0x22, 0xc0);
		registers.set(Gpr.rax, -1);
		emulates(0x0f, 0x22, 0xe0);
		expect(registers.control(CR4)).toBe(0x5066c);
		faults(0x44, 0x0f, 0x20, 0xc0);
	});

	it("CR3 takes only the guest's own frames", () => {
		const { registers, vcpu } = guest;
		const root = vcpu.kernelRoot;
		registers.set(Gpr.rax, root * 4096);
		emulates(0x0f, 0x22, 0xd8);
		registers.set(Gpr.rax, 0);
		faults(0x0f, 0x22, 0xd8);
		registers.set(Gpr.rax, 2 ** 60);
		faults(0x0f, 0x22, 0xd8);
		expect(vcpu.kernelRoot).toBe(root);
	});

	it("debug registers fault as the manual says", () => {
		const { registers } = guest;
		registers.set(Gpr.rax, CODE);
		emulates(0x0f, 0x23, 0xc0);
		emulates(0x0f, 0x21, 0xc3);
		expect(registers.get(Gpr.rbx)).toBe(CODE);
		registers.set(Gpr.rax, 0x2400);
		faults(0x0f, 0x23, 0xf8);
		registers.setControl(CR4, registers.control(CR4) | 8);
		execute([0x0f, 0x21, 0xe0]);
		expect(registers.rip).toBe(UD_HANDLER);
	});

	it("XSETBV takes x87 and SSE", () => {
		const { registers } = guest;
		registers.set(Gpr.rcx, 0);
		registers.set(Gpr.rdx, 0);
		registers.set(Gpr.rax, 3);
		execute([0x0f, 0x01, 0xd1]);
		expect(registers.rip).toBe(UD_HANDLER);
		registers.setControl(CR4, registers.control(CR4) | 0x40000);
		emulates(0x0f, 0x01, 0xd1);
		expect(registers.control(XCR0)).toBe(3);
		registers.set(Gpr.rax, 7);
		faults(0x0f, 0x01, 0xd1);
	});
});

describe("input and output", () => {
	it("needs the virtual IOPL; what is not there reads as ones", () => {
		const { registers, vcpu } = guest;
		faults(0xe4, 0x71);
		vcpu.iopl = 0x1000;
		registers.set(Gpr.rax, 0x1234);
		emulates(0xe4, 0x71);
		expect(registers.get(Gpr.rax)).toBe(0x12ff);
		registers.set(Gpr.rdx, 0xcf8);
		registers.setHalves(Gpr.rax, 0x8000_1234, 5);
		emulates(0xef);
		registers.set(Gpr.rax, 0);
		emulates(0xed);
		expect(registers.get(Gpr.rax)).toBe(0x8000_1234);
		registers.set(Gpr.rdx, 0xcfc);
		emulates(0x66, 0xed);
		expect(registers.get(Gpr.rax)).toBe(0x8000_ffff);
		emulates(0xfa);
	});

	it("is open to a program through the I/O bitmap", () => {
		const { vcpu, memory } = guest;
		vcpu.ioBitmap = STACK_TOP - 0x1000;
		vcpu.ioBitmapPorts = 0x10000;
		memory.setU8(guest.at(vcpu.ioBitmap + (0x70 >> 3)), 0xfe);
		vcpu.kernelMode = false;
		guest.registers.addressSpace = 1;
		emulates(0xe6, 0x70);
		faults(0xe6, 0x71);
	});
});

describe("other instructions", () => {
	it("WBINVD is accepted; HLT, INVLPG and LGDT are the guest's fault", () => {
		emulates(0x0f, 0x09);
		faults(0xf4);
		faults(0x0f, 0x01, 0x3b);
		faults(0x0f, 0x01, 0x13);
		faults(0xfa);
	});

	it("single-step on", () => {
		const { registers } = guest;
		registers.rflags |= Flag.TF;
		execute([0x0f, 0x09]);
		expect(registers.rip).toBe(DB_HANDLER);
		expect(registers.debug(4) & 0x4000).toBe(0x4000);
		expect(guest.words(registers.get(Gpr.rsp), 3)[2]).toBe(CODE + 2);
	});

	it("UD2 stays #UD, but behind it 'xen' and CPUID is CPUID", () => {
		const { registers } = guest;
		execute([0x0f, 0x0b, 0x90], Vector.invalidOpcode);
		expect(registers.rip).toBe(UD_HANDLER);
		registers.set(Gpr.rax, 0x4000_0000);
		execute([0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2], Vector.invalidOpcode);
		expect(registers.rip).toBe(CODE + 7);
		expect(registers.get(Gpr.rbx)).toBe(0x566e6558);
		registers.set(Gpr.rax, 1);
		execute([0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2], Vector.invalidOpcode);
		expect(registers.get(Gpr.rcx) & 0x800_0000).toBe(0x800_0000);
	});

	it("that are any bytes never fail the hypervisor", () => {
		let state = 99;
		const next = (): number => {
			state = (Math.imul(state, 1103515245) + 12345) >>> 0;
			return state >>> 16;
		};
		for (let round = 0; round < 2000; round++) {
			if (guest.domain.shutdown !== undefined || !guest.isMapped(CODE)) guest = createTrapGuest();
			(guest.vcpu.traps[13] as { address: number }).address = GP_HANDLER;
			(guest.vcpu.traps[14] as { address: number }).address = PF_HANDLER;
			const bytes = Array.from({ length: 15 }, () => next() & 255);
			if (round % 2 === 0) bytes[0] = 0x0f;
			if (round % 5 === 0) guest.registers.set(next() & 15, next() * 2 ** (next() % 48));
			const [vector, code, address] = round % 3 === 0 ? [14, 3, TABLE + (next() & 0xfff)] : [13, next() & 0xfe, 0];
			execute(bytes, vector as number, code as number, address as number);
			expect(guest.domain.crashReason ?? "").not.toMatch(/failure/);
		}
	});
});
