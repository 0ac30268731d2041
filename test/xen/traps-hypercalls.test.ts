import { beforeEach, describe, expect, it } from "vitest";
import { CR0 } from "../../src/cpu/layout.ts";
import { Gpr, Segment } from "../../src/cpu/registers.ts";
import { Errno } from "../../src/xen/abi/errno.ts";
import { formatCrashReport } from "../../src/xen/crash.ts";
import { hypercallTable } from "../../src/xen/hypercalls/index.ts";
import { parseTraceCategories, TraceCategory } from "../../src/xen/trace.ts";
import { CODE, createTrapGuest, DATA, HOLE, STACK_TOP, TABLE, type TrapGuest, USER_DS } from "./trap-guest.ts";

const HANDLER = CODE + 0x800;
const NOT_CANONICAL = 2 ** 48;

let guest: TrapGuest;

beforeEach(() => {
	guest = createTrapGuest();
});

/** Writes a struct trap_info. */
function trapInfo(index: number, vector: number, flags: number, address: number): void {
	const at = guest.at(DATA + index * 16);
	guest.memory.setU8(at, vector);
	guest.memory.setU8(at + 1, flags);
	guest.memory.setU16(at + 2, 0xe033);
	guest.memory.setU64(at + 8, address);
}

/** Writes a struct multicall_entry at `address`. */
function entry(address: number, op: number, ...args: number[]): void {
	const at = guest.at(address);
	guest.memory.setU64(at, op);
	guest.memory.setU64(at + 8, 0x5555);
	args.forEach((value, index) => {
		guest.memory.setU64(at + 16 + index * 8, value);
	});
}
const resultOf = (address: number): number => guest.memory.i64(guest.at(address + 8));

describe("the hypercall instruction", () => {
	it("leaves argument registers, and RCX and R11 as SYSCALL does", () => {
		const { registers } = guest;
		expect(guest.hypercall(5, 0, 22, 33)).toBe(0);
		expect(registers.get(Gpr.rsi)).toBe(22);
		expect(registers.get(Gpr.rcx)).toBe(CODE + 2);
		expect(registers.get(Gpr.r11)).toBe(0x202);
		expect(registers.rip).toBe(CODE + 2);
	});

	it.each([11, 43, 55, 63, 64, 1000, -1, 2 ** 32 + 5])("%d is -ENOSYS", (number) => {
		expect(guest.hypercall(number)).toBe(-Errno.ENOSYS);
	});

	it("whose handler fails ends the domain, not the host", () => {
		guest.hypervisor.trace.sink = () => {
			throw new Error("broken");
		};
		guest.hypervisor.trace.categories = TraceCategory.hypercalls;
		guest.hypercall(5, 1);
		expect(guest.domain.shutdown).toBe(3);
		expect(guest.domain.crashReason).toMatch(/failure of the hypervisor: Error: broken/);
	});

	it("is traced and counted by name", () => {
		const lines: string[] = [];
		guest.hypervisor.trace.sink = (line) => lines.push(line);
		guest.hypervisor.trace.categories = parseTraceCategories("hypercalls,faults") as number;
		guest.hypercall(25, 2, -4096);
		expect(lines).toEqual(["d1v0 set_segment_base(which=GS_KERNEL, base=0xfffffffffffff000) = 0x0"]);
		expect(guest.hypervisor.trace.counters().hypercalls).toEqual({ set_segment_base: 1 });
		expect(parseTraceCategories("hypercalls,toString")).toBeUndefined();
	});

	it("has a table in which every entry is at its number", () => {
		hypercallTable.forEach((call, number) => {
			if (call !== undefined) expect(call.number).toBe(number);
		});
	});
});

describe("set_trap_table", () => {
	it("sets entries up to the one without address, and clears all for a null table", () => {
		trapInfo(0, 14, 4, HANDLER);
		trapInfo(1, 3, 3, HANDLER + 8);
		trapInfo(2, 0, 0, 0);
		expect(guest.hypercall(0, DATA)).toBe(0);
		expect(guest.vcpu.traps[14]).toMatchObject({ flags: 4, address: HANDLER });
		expect(guest.vcpu.traps[3]).toMatchObject({ flags: 3, address: HANDLER + 8 });
		expect(guest.hypercall(0, 0)).toBe(0);
		expect(guest.vcpu.traps[14]?.address).toBe(0);
	});

	it("refuses what is not canonical or not readable", () => {
		trapInfo(0, 14, 4, NOT_CANONICAL);
		expect(guest.hypercall(0, DATA)).toBe(-Errno.EINVAL);
		expect(guest.hypercall(0, HOLE)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(0, NOT_CANONICAL)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(0, -(2 ** 47))).toBe(-Errno.EFAULT);
	});

	it("lets a waiting event in between and goes on behind it", () => {
		const { registers, vcpu, memory } = guest;
		trapInfo(0, 1, 0, HANDLER);
		trapInfo(1, 2, 0, HANDLER);
		trapInfo(2, 0, 0, 0);
		vcpu.eventCallback = { address: HANDLER + 64, maskEvents: false };
		registers.set(Gpr.rax, 0);
		registers.set(Gpr.rdi, DATA);
		guest.run(() => {
			registers.rip += 2;
			memory.setU8(vcpu.vcpuInfo, 1);
			return 3;
		});
		expect(vcpu.traps[2]?.address).toBe(0);
		expect(registers.rip).toBe(HANDLER + 64);
		// The call is made again, with what remains.
		expect(guest.words(registers.get(Gpr.rsp), 3)[2]).toBe(CODE);
		expect(registers.get(Gpr.rdi)).toBe(DATA + 16);
		expect(registers.get(Gpr.rax)).toBe(0);
	});
});

describe("callbacks", () => {
	it("are set by callback_op, by type", () => {
		const { memory, vcpu } = guest;
		const at = guest.at(DATA);
		for (const [type, name] of [
			[0, "eventCallback"],
			[1, "failsafeCallback"],
			[2, "syscallCallback"],
			[5, "sysenterCallback"],
			[7, "syscall32Callback"],
		] as const) {
			memory.setU16(at, type);
			memory.setU16(at + 2, 1);
			memory.setU64(at + 8, HANDLER + type);
			expect(guest.hypercall(30, 0, DATA)).toBe(0);
			expect(vcpu[name]).toEqual({ address: HANDLER + type, maskEvents: true });
		}
		memory.setU16(at, 3);
		expect(guest.hypercall(30, 0, DATA)).toBe(-Errno.ENOSYS);
		memory.setU16(at, 0);
		expect(guest.hypercall(30, 1, DATA)).toBe(-Errno.EINVAL);
		memory.setU64(at + 8, NOT_CANONICAL);
		expect(guest.hypercall(30, 0, DATA)).toBe(-Errno.EINVAL);
		expect(guest.hypercall(30, 0, HOLE)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(30, 2, DATA)).toBe(-Errno.ENOSYS);
	});

	it("for NMIs are entries of the trap table; an NMI waits for the iret of the one before", () => {
		const { memory, vcpu, registers } = guest;
		memory.setU64(guest.at(DATA), HANDLER);
		expect(guest.hypercall(28, 0, DATA)).toBe(0);
		vcpu.nmiPending = true;
		guest.run();
		expect(registers.rip).toBe(HANDLER);
		expect(vcpu.nmiMasked).toBe(true);
		registers.rip = CODE;
		vcpu.nmiPending = true;
		guest.run();
		expect(registers.rip).toBe(CODE);
		expect(guest.hypercall(28, 1)).toBe(0);
		expect(vcpu.traps[2]?.address).toBe(0);
	});
});

describe("registers", () => {
	it("set_segment_base", () => {
		const { registers, vcpu } = guest;
		expect(guest.hypercall(25, 0, 0x1000)).toBe(0);
		expect(guest.hypercall(25, 1, 0x2000)).toBe(0);
		expect(guest.hypercall(25, 2, -0x3000)).toBe(0);
		expect(registers.segmentBase(Segment.fs)).toBe(0x1000);
		expect(registers.segmentBase(Segment.gs)).toBe(-0x3000);
		expect(vcpu.gsBaseUser).toBe(0x2000);
		expect(guest.hypercall(25, 3, USER_DS)).toBe(0);
		expect(registers.selector(Segment.gs)).toBe(USER_DS);
		expect(vcpu.gsBaseUser).toBe(0);
		expect(registers.segmentBase(Segment.gs)).toBe(-0x3000);
		expect(guest.hypercall(25, 3, 0x43)).toBe(0);
		expect(registers.selector(Segment.gs)).toBe(0);
		expect(guest.hypercall(25, 0, NOT_CANONICAL)).toBe(-Errno.EINVAL);
		expect(guest.hypercall(25, 4, 0)).toBe(-Errno.EINVAL);
	});

	it("set_debugreg and get_debugreg", () => {
		expect(guest.hypercall(8, 0, CODE)).toBe(0);
		expect(guest.hypercall(9, 0)).toBe(CODE);
		expect(guest.hypercall(8, 0, -(2 ** 47))).toBe(-Errno.EPERM);
		expect(guest.hypercall(8, 7, 0x401)).toBe(0);
		expect(guest.hypercall(9, 7)).toBe(0x401);
		expect(guest.hypercall(8, 7, 0x2400)).toBe(-Errno.EPERM);
		// Breaking on I/O needs CR4.DE.
		expect(guest.hypercall(8, 7, 0x20001)).toBe(-Errno.EPERM);
		expect(guest.hypercall(8, 7, 2 ** 32)).toBe(-Errno.EINVAL);
		expect(guest.hypercall(8, 6, 0x4000)).toBe(0);
		expect(guest.hypercall(9, 4)).toBe(0xffff4ff0);
		expect(guest.hypercall(8, 8, 0)).toBe(-Errno.ENODEV);
		expect(guest.hypercall(9, -1)).toBe(-Errno.ENODEV);
	});

	it("fpu_taskswitch, undone by #NM", () => {
		const { registers } = guest;
		expect(guest.hypercall(5, 1)).toBe(0);
		expect(registers.control(CR0) & 8).toBe(8);
		expect(guest.hypercall(5, 0)).toBe(0);
		expect(registers.control(CR0)).toBe(0x80050033);
	});
});

describe("multicall", () => {
	it("makes each call and stores its result", () => {
		entry(DATA, 3, 0x1b, STACK_TOP);
		entry(DATA + 64, 62);
		entry(DATA + 128, 13, DATA, 1);
		entry(DATA + 192, 25, 9, 0);
		expect(guest.hypercall(13, DATA, 4)).toBe(0);
		expect(guest.vcpu.kernelStackPointer).toBe(STACK_TOP);
		expect([0, 64, 128, 192].map((offset) => resultOf(DATA + offset))).toEqual([
			0,
			-Errno.ENOSYS,
			-Errno.EINVAL,
			-Errno.EINVAL,
		]);
		expect(guest.hypercall(13, DATA, 0)).toBe(0);
	});

	it("fails where the list cannot be read, or a result not written", () => {
		expect(guest.hypercall(13, HOLE, 1)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(13, TABLE, 1)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(13, NOT_CANONICAL, 1)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(13, -(2 ** 47) - 64, 4)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(13, DATA, 2 ** 31)).not.toBe(0);
	});

	it("stops for events and goes on", () => {
		const { registers, vcpu, memory } = guest;
		entry(DATA, 5, 1);
		entry(DATA + 64, 5, 0);
		vcpu.eventCallback = { address: HANDLER, maskEvents: false };
		registers.set(Gpr.rax, 13);
		registers.set(Gpr.rdi, DATA);
		registers.set(Gpr.rsi, 2);
		guest.run(() => {
			registers.rip += 2;
			memory.setU8(vcpu.vcpuInfo, 1);
			return 3;
		});
		expect(resultOf(DATA)).toBe(0);
		expect(resultOf(DATA + 64)).toBe(0x5555);
		expect([registers.get(Gpr.rax), registers.get(Gpr.rdi), registers.get(Gpr.rsi)]).toEqual([13, DATA + 64, 1]);
	});
});

describe("what an unprivileged guest may not", () => {
	it("is refused as Xen refuses it", () => {
		const at = guest.at(DATA);
		expect(guest.hypercall(35, HOLE)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(35, DATA)).toBe(-Errno.EACCES);
		guest.memory.setU32(at + 4, 0x15);
		expect(guest.hypercall(35, DATA)).toBe(-Errno.EPERM);
		guest.memory.setU16(at + 8, 99);
		expect(guest.hypercall(36, DATA)).toBe(-Errno.ESRCH);
		// DOMID_SELF is no domain's id here.
		guest.memory.setU16(at + 8, 0x7ff0);
		expect(guest.hypercall(36, DATA)).toBe(-Errno.ESRCH);
		guest.memory.setU32(at + 4, 0x0300_0001);
		expect(guest.hypercall(7, DATA)).toBe(-Errno.EPERM);
		expect(guest.hypercall(37, 0, DATA)).toBe(-Errno.EPERM);
		expect(guest.hypercall(40, 0, DATA)).toBe(-Errno.EOPNOTSUPP);
		expect(guest.hypercall(27, DATA)).toBe(-Errno.ENOSYS);
		expect(guest.hypercall(34, 0, HOLE)).toBe(-Errno.EFAULT);
		expect(guest.hypercall(34, 99, DATA)).toBe(-Errno.ENOSYS);
	});
});

describe("hostile arguments", () => {
	/** A generator of fixed pseudo-random numbers. */
	function random(): () => number {
		let state = 12345;
		return () => {
			state = (Math.imul(state, 1103515245) + 12345) >>> 0;
			return state >>> 8;
		};
	}

	it("never fail the hypervisor", () => {
		const next = random();
		const interesting = [
			0,
			1,
			-1,
			7,
			0x7ff0,
			DATA,
			DATA + 4090,
			TABLE,
			HOLE,
			CODE,
			NOT_CANONICAL,
			-(2 ** 47),
			-(2 ** 63),
			2 ** 31,
			2 ** 32 - 1,
			2 ** 53,
		];
		for (let round = 0; round < 3000; round++) {
			// A call may have unmapped the page of arguments.
			if (guest.domain.shutdown !== undefined || !guest.isMapped(DATA)) guest = createTrapGuest();
			const data = guest.at(DATA);
			for (let index = 0; index < 64; index++) {
				const value = interesting[next() % interesting.length] as number;
				guest.memory.setU64(data + index * 8, next() % 3 === 0 ? next() : value);
			}
			guest.registers.rip = CODE;
			guest.registers.set(Gpr.rsp, [STACK_TOP - 512, DATA, HOLE, 8][next() % 4] as number);
			const number = next() % 64;
			const args = Array.from({ length: 6 }, () => interesting[next() % interesting.length] as number);
			guest.vcpu.online = true;
			guest.vcpu.blocked = false;
			guest.vcpu.kernelMode = true;
			guest.hypercall(number, ...args);
			const reason = guest.domain.crashReason ?? "";
			expect(reason, `hypercall ${number}(${args.join(", ")})`).not.toMatch(/failure of the hypervisor/);
		}
	});
});

describe("crash reports", () => {
	it("name the registers, the stack and the calls found there", () => {
		const { domain, registers, memory } = guest;
		domain.symbolAt = (address) =>
			address >= CODE && address < CODE + 4096 ? `sym+0x${(address - CODE).toString(16)}` : undefined;
		const stack = registers.get(Gpr.rsp);
		memory.setU64(guest.at(stack + 16), CODE + 0x20);
		memory.setU64(guest.at(stack + 32), stack + 64);
		memory.setU64(guest.at(stack + 40), CODE + 0x30);
		registers.set(Gpr.rbp, stack + 32);
		registers.set(Gpr.r15, -1);
		domain.crash("for the test");
		expect(domain.crashReport?.calls).toEqual([
			{ address: "0000000000400000", symbol: "sym+0x0", certain: true },
			{ address: "0000000000400020", symbol: "sym+0x20", certain: false },
			{ address: "0000000000400030", symbol: "sym+0x30", certain: true },
		]);
		const text = domain.crashReport === undefined ? "" : formatCrashReport(domain.crashReport);
		expect(text).toContain("Domain 1 (test) crashed: for the test");
		expect(text).toContain("    r15 ffffffffffffffff");
		expect(text).toContain("0000000000400020 ? sym+0x20");
		expect(guest.hypervisor.log.read()).toContain("d1 crashed: for the test");
	});
});
