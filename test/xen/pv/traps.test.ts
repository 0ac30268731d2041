import { beforeEach, describe, expect, it } from "vitest";
import { Exit, Vector } from "../../../src/cpu/processor.ts";
import { Flag, Gpr, Segment } from "../../../src/cpu/registers.ts";
import { interrupt, raise } from "../fake-processor.ts";
import {
	CODE,
	createTrapGuest,
	DATA,
	HOLE,
	KERNEL_DS,
	STACK_TOP,
	STACK2_TOP,
	type TrapGuest,
	USER_CS,
	USER_CS32,
	USER_DS,
} from "../trap-guest.ts";

const HANDLER = CODE + 0x800;
const SAVED_MASK = 2 ** 32;

let guest: TrapGuest;

beforeEach(() => {
	guest = createTrapGuest();
});

function setTrap(vector: number, flags: number, address = HANDLER): void {
	const entry = guest.vcpu.traps[vector];
	if (entry === undefined) throw new Error("no such vector");
	entry.flags = flags;
	entry.address = address;
}

const mask = (): number => guest.memory.u8(guest.vcpu.vcpuInfo + 1);
function setMask(value: number): void {
	guest.memory.setU8(guest.vcpu.vcpuInfo + 1, value);
}

/** Goes to a user program by iret, as a kernel does. */
function enterUser(
	rip: number,
	rsp: number,
	options: { cs?: number; ss?: number; flags?: number; rflags?: number } = {},
) {
	const frame = STACK_TOP - 0x200;
	const { cs = USER_CS, ss = USER_DS, flags = 0, rflags = 0x202 } = options;
	[1, 11, 12, flags, rip, cs, rflags, rsp, ss].forEach((value, index) => {
		guest.memory.setU64(guest.at(frame + index * 8), value);
	});
	guest.registers.set(Gpr.rsp, frame);
	return guest.hypercall(23);
}

describe("bounce frames", () => {
	it("of an exception in the kernel lie on its own stack", () => {
		const { registers, memory } = guest;
		setTrap(13, 4);
		registers.rip = CODE + 5;
		registers.set(Gpr.rcx, 0xc);
		registers.set(Gpr.r11, 0xb);
		registers.set(Gpr.rsp, STACK_TOP - 0x108);
		registers.rflags = 0x202 | Flag.ZF | Flag.TF | Flag.AC;
		// HLT is not emulated.
		guest.code(0xf4);
		guest.run(() => raise(registers, memory, Vector.generalProtection, 0x10));
		const frame = STACK_TOP - 0x110 - 64;
		expect(registers.get(Gpr.rsp)).toBe(frame);
		expect(guest.words(frame, 8)).toEqual([
			0xc,
			0xb,
			0x10,
			CODE + 5,
			0xe030,
			0x202 | Flag.ZF | Flag.TF | Flag.AC,
			STACK_TOP - 0x108,
			0xe02b,
		]);
		expect(registers.rip).toBe(HANDLER);
		expect(registers.selector(Segment.cs)).toBe(0xe033);
		expect(registers.rflags & (Flag.TF | Flag.AC)).toBe(0);
		expect(registers.rflags & Flag.ZF).toBe(Flag.ZF);
		expect(mask()).toBe(1);
	});

	it("carry the upcall mask, and RFLAGS.IF tells the same", () => {
		const { registers, memory } = guest;
		setTrap(6, 0);
		setMask(1);
		guest.run(() => raise(registers, memory, Vector.invalidOpcode));
		const [, , , cs, rflags] = guest.words(registers.get(Gpr.rsp), 7);
		expect(cs).toBe(0xe030 + SAVED_MASK);
		expect((rflags as number) & Flag.IF).toBe(0);
		expect(mask()).toBe(1);
	});

	it("of an exception in a user program lie on the stack of stack_switch", () => {
		const { registers, memory, vcpu } = guest;
		setTrap(14, 4);
		vcpu.gsBaseUser = 0x7000;
		registers.setSegmentBase(Segment.gs, -0x1000);
		enterUser(0x1234, 0x5678);
		expect(vcpu.kernelMode).toBe(false);
		expect(registers.segmentBase(Segment.gs)).toBe(0x7000);
		expect(registers.addressSpace).toBe(1);
		// WRGSBASE of the program.
		registers.setSegmentBase(Segment.gs, 0x8000);
		guest.run(() => raise(registers, memory, Vector.pageFault, 4, 0x9999));
		expect(vcpu.kernelMode).toBe(true);
		expect(registers.addressSpace).toBe(0);
		expect(registers.segmentBase(Segment.gs)).toBe(-0x1000);
		expect(vcpu.gsBaseUser).toBe(0x8000);
		expect(guest.words(registers.get(Gpr.rsp), 8)).toEqual([12, 11, 4, 0x1234, USER_CS, 0x202, 0x5678, USER_DS]);
		expect(registers.get(Gpr.rsp)).toBe(STACK2_TOP - 64);
		expect(memory.i64(vcpu.vcpuInfo + 16)).toBe(0x9999);
	});

	it("tell the kernel's own page faults without the user bit", () => {
		const { registers, memory } = guest;
		setTrap(14, 4);
		guest.run(() => raise(registers, memory, Vector.pageFault, 6, 0x9999));
		expect(guest.words(registers.get(Gpr.rsp), 3)[2]).toBe(2);
	});

	it("may cross a page", () => {
		const { registers, memory } = guest;
		setTrap(0, 0);
		registers.set(Gpr.rsp, STACK_TOP - 4096 + 16);
		guest.run(() => raise(registers, memory, Vector.divideError));
		const frame = STACK_TOP - 4096 + 16 - 56;
		expect(registers.get(Gpr.rsp)).toBe(frame);
		expect(guest.words(frame, 7)[5]).toBe(STACK_TOP - 4096 + 16);
	});

	it.each([
		["unmapped", HOLE + 0x100],
		["read-only", DATA + 4096 + 0x100],
		["in the hypervisor's range", -(2 ** 47) + 4096],
		["not canonical", 2 ** 60],
	])("on a stack that is %s end the domain", (_, stack) => {
		const { registers, memory, domain } = guest;
		setTrap(0, 0);
		registers.set(Gpr.rsp, stack);
		guest.run(() => raise(registers, memory, Vector.divideError));
		expect(domain.shutdown).toBe(3);
		expect(domain.crashReason).toMatch(/stack/);
		expect(Object.values(domain.crashReport?.registers ?? {}).length).toBeGreaterThan(20);
	});

	it("without a handler end the domain with a report", () => {
		const { registers, memory, domain } = guest;
		guest.run(() => raise(registers, memory, Vector.pageFault, 2, 0xdead000));
		expect(domain.crashReason).toBe("d1v0: unhandled #PF [#14, ec=0002] at address 0xdead000");
	});
});

describe("events", () => {
	it("are delivered when pending and not masked, and mask themselves", () => {
		const { registers, vcpu, memory } = guest;
		vcpu.eventCallback = { address: HANDLER, maskEvents: false };
		memory.setU8(vcpu.vcpuInfo, 1);
		setMask(1);
		guest.run();
		expect(registers.rip).toBe(CODE);
		setMask(0);
		guest.run();
		expect(registers.rip).toBe(HANDLER);
		expect(mask()).toBe(1);
		expect(guest.words(registers.get(Gpr.rsp), 4)[3]).toBe(0xe030);
		expect(guest.hypervisor.trace.counters().events).toMatchObject({ upcalls: 1 });
	});
});

describe("system calls", () => {
	it("of a program reach the kernel with RCX and R11 as SYSCALL leaves them", () => {
		const { registers, vcpu } = guest;
		vcpu.syscallCallback = { address: HANDLER, maskEvents: true };
		enterUser(0x1000, 0x5678, { rflags: 0x602 });
		guest.run(() => {
			registers.rip += 2;
			return Exit.syscall;
		});
		expect(registers.rip).toBe(HANDLER);
		expect(guest.words(registers.get(Gpr.rsp), 7)).toEqual([0x1002, 0x602, 0x1002, USER_CS, 0x602, 0x5678, USER_DS]);
		expect(registers.rflags & Flag.DF).toBe(0);
		expect(mask()).toBe(1);
	});

	it("are #UD in compatibility mode, where SYSENTER is the way", () => {
		const { registers, vcpu } = guest;
		setTrap(6, 0);
		enterUser(0x1000, 0x5678, { cs: USER_CS32 });
		expect(registers.longMode).toBe(false);
		guest.run(() => {
			registers.rip += 2;
			return Exit.syscall;
		});
		expect(registers.rip).toBe(HANDLER);
		expect(registers.longMode).toBe(true);
		expect(guest.words(registers.get(Gpr.rsp), 3)[2]).toBe(0x1000);
		vcpu.sysenterCallback = { address: HANDLER + 8, maskEvents: false };
		enterUser(0x1000, 0x5678, { cs: USER_CS32 });
		guest.run(() => Exit.sysenter);
		expect(registers.rip).toBe(HANDLER + 8);
		expect(guest.words(registers.get(Gpr.rsp), 4).slice(2)).toEqual([0, 3]);
	});
});

describe("software interrupts", () => {
	it("need the trap table's privilege", () => {
		const { registers, memory } = guest;
		setTrap(0x80, 3);
		setTrap(0x90, 1, HANDLER + 16);
		setTrap(13, 4, HANDLER + 32);
		enterUser(0x1000, 0x5678);
		registers.rip += 2;
		guest.run(() => interrupt(registers, memory, 0x80));
		expect(registers.rip).toBe(HANDLER);
		expect(guest.words(registers.get(Gpr.rsp), 3)[2]).toBe(0x1002);
		enterUser(0x1002, 0x5678);
		guest.run(() => interrupt(registers, memory, 0x90));
		expect(registers.rip).toBe(HANDLER + 32);
		expect(guest.words(registers.get(Gpr.rsp), 4).slice(2)).toEqual([(0x90 << 3) | 2, 0x1000]);
		guest.run(() => interrupt(registers, memory, 0x90));
		expect(registers.rip).toBe(HANDLER + 16);
	});

	it("of breakpoints are open to all", () => {
		const { registers, memory } = guest;
		setTrap(3, 0);
		enterUser(0x1001, 0x5678);
		guest.run(() => interrupt(registers, memory, 3));
		expect(registers.rip).toBe(HANDLER);
	});
});

describe("iret", () => {
	it("returns to a program and unmasks events", () => {
		const { registers, vcpu } = guest;
		setMask(1);
		expect(enterUser(0x1234, 0x5678)).toBe(1);
		expect(registers.rip).toBe(0x1234);
		expect(registers.get(Gpr.rsp)).toBe(0x5678);
		expect([registers.get(Gpr.r11), registers.get(Gpr.rcx)]).toEqual([11, 12]);
		expect(registers.selector(Segment.cs)).toBe(USER_CS);
		expect(registers.longMode).toBe(true);
		expect(vcpu.kernelMode).toBe(false);
		expect(mask()).toBe(0);
	});

	it("returns to the kernel with the mask that RFLAGS.IF says, and never with privileged flags", () => {
		const { registers, vcpu } = guest;
		enterUser(CODE + 9, STACK_TOP - 32, { cs: 0xe030, ss: KERNEL_DS, rflags: 0x3000 | Flag.VM | Flag.ZF });
		expect(vcpu.kernelMode).toBe(true);
		expect(mask()).toBe(1);
		expect(registers.selector(Segment.cs)).toBe(0xe033);
		expect(registers.rflags).toBe(0x202 | Flag.ZF);
	});

	it("with VGCF_in_syscall leaves RCX and R11 as SYSRET does", () => {
		const { registers } = guest;
		enterUser(0x1234, 0x5678, { flags: 0x100 });
		expect(registers.get(Gpr.rcx)).toBe(0x1234);
		expect(registers.get(Gpr.r11)).toBe(0x202);
		expect(registers.selector(Segment.cs)).toBe(0xe033);
	});

	it.each([
		["IRET", {}, USER_CS32],
		["IRET", { ss: 0xe02b }, USER_CS32],
		["SYSRET", { flags: 0x100 }, 0xe023],
	])("as by %s to compatibility mode takes the lower halves of RIP and RSP", (_, options, cs) => {
		const { registers, vcpu } = guest;
		enterUser(0x7f00_0000_1234, 2 ** 45 + 0x5678, { cs, ...options });
		expect(vcpu.kernelMode).toBe(false);
		expect(registers.longMode).toBe(false);
		expect(registers.selector(Segment.cs)).toBe(cs);
		expect(registers.rip).toBe(0x1234);
		expect(registers.get(Gpr.rsp)).toBe(0x5678);
	});

	it("to compatibility mode is not refused for an address that is canonical in its lower half", () => {
		enterUser(2 ** 50 + 0x1234, 0x5678, { cs: USER_CS32 });
		expect(guest.registers.rip).toBe(0x1234);
	});

	it("to compatibility mode that fails has changed neither", () => {
		setTrap(13, 0);
		enterUser(0x7f00_0000_1234, 2 ** 45, { cs: USER_CS32, ss: 3 });
		const frame = guest.words(guest.registers.get(Gpr.rsp), 8);
		expect([frame[3], frame[6]]).toEqual([0x7f00_0000_1234, 2 ** 45]);
	});

	it.each([
		[0, [0, 0, 0, 0]],
		[0x100, [1, 2, 3, 0]],
	])("with flags %i leaves null selectors as %j", (flags, left) => {
		const { registers } = guest;
		const segments = [Segment.ds, Segment.es, Segment.fs, Segment.gs];
		for (const [index, segment] of segments.entries()) registers.setSelector(segment, (index + 1) & 3);
		registers.setSegmentBase(Segment.fs, 0x7000);
		enterUser(0x1234, 0x5678, { flags });
		expect(segments.map((segment) => registers.selector(segment))).toEqual(left);
		// The base stays: it is what a program's threads have.
		expect(registers.segmentBase(Segment.fs)).toBe(0x7000);
		registers.setSelector(Segment.ds, USER_DS);
		guest = createTrapGuest();
		guest.registers.setSelector(Segment.ds, USER_DS);
		enterUser(0x1234, 0x5678, { flags });
		expect(guest.registers.selector(Segment.ds)).toBe(USER_DS);
	});

	it.each<[string, { cs?: number; ss?: number }]>([
		["a null CS", { cs: 3 }],
		["a data CS", { cs: USER_DS }],
		["CS beyond the GDT's entries", { cs: 0x1003 }],
		["an empty descriptor", { cs: 0x43 }],
		["a null SS", { ss: 3 }],
		["a code SS", { ss: USER_CS }],
	])("with %s is the program's #GP", (_, selectors) => {
		const { registers, vcpu } = guest;
		setTrap(13, 0);
		enterUser(0x1234, 0x5678, selectors);
		expect(registers.rip).toBe(HANDLER);
		expect(vcpu.kernelMode).toBe(true);
		const frame = guest.words(registers.get(Gpr.rsp), 8);
		const code = (selectors.cs ?? selectors.ss ?? 0) & ~3;
		expect(frame.slice(0, 4)).toEqual([12, 11, code, 0x1234]);
		expect(frame.slice(6)).toEqual([0x5678, selectors.ss ?? USER_DS]);
	});

	it("ends the domain without a handler of its faults, a readable frame or a user page table", () => {
		enterUser(0x1234, 0x5678, { cs: 3 });
		expect(guest.domain.shutdown).toBe(3);
		guest = createTrapGuest();
		guest.registers.set(Gpr.rsp, HOLE);
		guest.hypercall(23);
		expect(guest.domain.crashReason).toMatch(/iret context/);
		guest = createTrapGuest();
		guest.vcpu.userRoot = 0;
		enterUser(0x1234, 0x5678);
		expect(guest.domain.crashReason).toMatch(/user page table/);
	});
});
