import { beforeEach, describe, expect, it } from "vitest";
import { Exit, Vector } from "../../../src/cpu/processor.ts";
import { Gpr } from "../../../src/cpu/registers.ts";
import { RunResult, runVcpu } from "../../../src/xen/pv/run.ts";
import { raise } from "../fake-processor.ts";
import { CODE, createTrapGuest, DATA, STACK_TOP, TABLE, type TrapGuest } from "../trap-guest.ts";

let guest: TrapGuest;

beforeEach(() => {
	guest = createTrapGuest();
});

describe("runVcpu", () => {
	it("uses the fuel it was given", () => {
		expect(runVcpu(guest.vcpu, 1234)).toBe(RunResult.fuel);
		expect(guest.processor.executed).toBe(1234);
	});

	it("delivers no event directly after a load of SS", () => {
		const { processor, registers, memory, vcpu } = guest;
		vcpu.eventCallback = { address: CODE + 0x40, maskEvents: true };
		memory.setU8(vcpu.vcpuInfo, 1);
		processor.interruptShadow = true;
		const runs: [fuel: number, rip: number][] = [];
		processor.run = (fuel) => {
			runs.push([fuel, registers.rip]);
			processor.interruptShadow = false;
			processor.executed += fuel;
			registers.rip += 3;
			return Exit.fuel;
		};
		expect(runVcpu(vcpu, 100)).toBe(RunResult.fuel);
		expect(runs).toEqual([
			[1, CODE],
			[99, CODE + 0x40],
		]);
	});

	it("ends for a guest that only takes exceptions", () => {
		const { processor, registers, memory, vcpu } = guest;
		(vcpu.traps[6] as { address: number }).address = CODE;
		let faults = 0;
		processor.run = () => {
			faults++;
			// The exception's handler raises it again, on the same stack.
			registers.set(Gpr.rsp, STACK_TOP);
			return raise(registers, memory, Vector.invalidOpcode);
		};
		expect(runVcpu(vcpu, 500)).toBe(RunResult.fuel);
		expect(faults).toBe(500);
	});

	it("returns for a vCPU that waits or is down, and a domain that has shut down", () => {
		const { vcpu, domain } = guest;
		vcpu.blocked = true;
		expect(runVcpu(vcpu, 10)).toBe(RunResult.reschedule);
		vcpu.blocked = false;
		vcpu.online = false;
		expect(runVcpu(vcpu, 10)).toBe(RunResult.reschedule);
		vcpu.online = true;
		domain.shutDown(0);
		expect(runVcpu(vcpu, 10)).toBe(RunResult.shutdown);
		expect(guest.processor.executed).toBe(0);
	});

	it("stops when a hypercall asks for the scheduler", () => {
		const { processor, registers, vcpu, memory } = guest;
		// SCHEDOP_shutdown, reason 0.
		memory.setU32(guest.at(DATA), 0);
		registers.set(Gpr.rax, 29);
		registers.set(Gpr.rdi, 2);
		registers.set(Gpr.rsi, DATA);
		processor.script.push(() => {
			registers.rip += 2;
			return Exit.syscall;
		});
		expect(runVcpu(vcpu, 100)).toBe(RunResult.shutdown);
		expect(guest.domain.shutdown).toBe(0);
	});

	it("ends the domain, not the host, when the processor fails", () => {
		guest.processor.run = () => {
			throw new RangeError("engine");
		};
		expect(runVcpu(guest.vcpu, 100)).toBe(RunResult.shutdown);
		expect(guest.domain.crashReason).toMatch(/RangeError: engine/);
	});

	it("gives a page fault's handler the address of the fault, even where the instruction could not be read", () => {
		const { registers, memory, vcpu } = guest;
		(vcpu.traps[14] as { address: number }).address = CODE;
		// The page behind this one is not mapped.
		registers.rip = TABLE + 0xfff;
		guest.run(() => raise(registers, memory, Vector.pageFault, 3, TABLE + 24));
		expect(memory.i64(vcpu.vcpuInfo + 16)).toBe(TABLE + 24);
	});

	it("calls onShutdown once", () => {
		const reasons: number[] = [];
		guest.domain.onShutdown = (reason) => reasons.push(reason);
		guest.domain.shutDown(1);
		guest.domain.shutDown(0);
		guest.domain.crash("too late");
		expect(reasons).toEqual([1]);
		expect(guest.domain.crashReason).toBeUndefined();
	});
});
