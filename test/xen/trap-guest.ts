/** A small PV guest over a FakeProcessor, or over the real one: one vCPU, real page tables of the hypervisor's own checking, a stack, a shared_info. */
import { createProcessor, type EngineOptions } from "../../src/cpu/engine.ts";
import { Access, type Environment, Exit, type Processor } from "../../src/cpu/processor.ts";
import { Gpr, type Registers } from "../../src/cpu/registers.ts";
import type { Clock } from "../../src/machine/clock.ts";
import { STATE } from "../../src/memory/map.ts";
import { Memory } from "../../src/memory/memory.ts";
import type { Domain } from "../../src/xen/domain.ts";
import { EventChannels } from "../../src/xen/events/events.ts";
import { GrantTable } from "../../src/xen/grants/grants.ts";
import { Hypervisor } from "../../src/xen/hypervisor.ts";
import { adoptInitialTables, setUserRoot } from "../../src/xen/mm/roots.ts";
import { runVcpu } from "../../src/xen/pv/run.ts";
import type { Vcpu } from "../../src/xen/vcpu.ts";
import { FakeProcessor, type Step } from "./fake-processor.ts";

/** Virtual address of page `index` of the guest; see the constants. */
export const BASE = 0x40_0000;
export const page = (index: number): number => BASE + index * 4096;
/** Code, two pages of kernel stack, data, the L1 table itself (read-only), a hole, another stack, a page of GDT (read-only). */
export const CODE = page(0);
export const STACK_TOP = page(3);
export const DATA = page(3);
export const TABLE = page(4);
export const HOLE = page(5);
export const STACK2_TOP = page(7);
export const GDT = page(7);

/** Selectors in the guest's GDT, as Linux lays it out. */
export const KERNEL_DS = 0x1b;
export const USER_CS32 = 0x23;
export const USER_DS = 0x2b;
export const USER_CS = 0x33;

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;

class TestClock implements Clock {
	readonly deterministic = true;
	readonly tscWindow = 0;
	readonly wallClockBase = 0;
	readonly tscFrequency = 1_000_000_000;
	time = 1000;
	now(): number {
		return this.time;
	}
	tsc(): number {
		return this.time;
	}
	skipTo(deadline: number): void {
		this.time = deadline;
	}
}

interface SmallGuest {
	readonly hypervisor: Hypervisor;
	readonly memory: Memory;
	readonly domain: Domain;
	readonly vcpu: Vcpu;
	readonly registers: Registers;
	isMapped(virtualAddress: number): boolean;
	/** Linear address of a kernel virtual address. */
	at(virtualAddress: number): number;
	/** The 64-bit words at a virtual address, as signed numbers. */
	words(virtualAddress: number, count: number): number[];
	/** Puts bytes at RIP. */
	code(...bytes: number[]): void;
}

export interface TrapGuest extends SmallGuest {
	readonly processor: FakeProcessor;
	/** Runs the steps, each an exit, then stops. */
	run(...steps: Step[]): void;
	/** Makes a hypercall from guest kernel mode; its RAX as a signed number. */
	hypercall(number: number, ...args: number[]): number;
}

export interface ExecutingGuest extends SmallGuest {
	/** Executes the instruction at RIP, or takes the exit that it ends in. */
	step(): void;
}

const OPTIONS: EngineOptions = { tier: "interpreter", emittedExits: false };

/** Over the real processor. */
export function createExecutingGuest(): ExecutingGuest {
	const guest = build((memory, environment) => createProcessor(memory, environment, OPTIONS));
	const { vcpu, processor } = guest;
	processor.switchContext(vcpu.slot);
	vcpu.registers.base = STATE;
	return {
		...guest,
		step: () => {
			vcpu.reschedule = false;
			runVcpu(vcpu, 1);
		},
	};
}

export function createTrapGuest(): TrapGuest {
	const guest = build((memory) => new FakeProcessor(memory));
	const { processor, registers, vcpu } = guest;
	processor.context = registers.base;
	const run = (...steps: Step[]): void => {
		processor.script.push(...steps);
		vcpu.reschedule = false;
		processor.script.push(() => {
			vcpu.reschedule = true;
			return Exit.fuel;
		});
		runVcpu(vcpu, 1000);
		processor.script.length = 0;
	};
	return {
		...guest,
		run,
		hypercall: (number, ...args) => {
			registers.set(Gpr.rax, number);
			const order = [Gpr.rdi, Gpr.rsi, Gpr.rdx, Gpr.r10, Gpr.r8, Gpr.r9];
			args.forEach((value, index) => {
				registers.set(order[index] as number, value);
			});
			run(() => {
				registers.rip += 2;
				return Exit.syscall;
			});
			return registers.get(Gpr.rax);
		},
	};
}

function build<P extends Processor>(
	create: (memory: Memory, environment: Environment) => P,
): SmallGuest & { readonly processor: P } {
	const memory = new Memory(128);
	let processor!: P;
	const hypervisor = new Hypervisor({
		memory,
		createProcessor: (of, environment) => {
			processor = create(of, environment);
			return processor;
		},
		createClock: () => new TestClock(),
	});
	const domain = hypervisor.createDomain("test");
	domain.maximumPages = 64;
	const allocate = (): number => hypervisor.frames.allocate(domain.id) as number;
	const sharedInfo = hypervisor.frames.allocateShared(domain.id);
	if (sharedInfo === undefined) throw new Error("no frame");
	domain.sharedInfoFrame = sharedInfo;
	domain.events = new EventChannels(domain);
	domain.grants = new GrantTable(domain);
	const vcpu = domain.addVcpu();
	if (vcpu === undefined) throw new Error("no vCPU");

	const [l4, userL4, l3, l2, l1] = [allocate(), allocate(), allocate(), allocate(), allocate()];
	const entry = (table: number, index: number, mfn: number, flags: number): void => {
		memory.setU64(memory.frame(table) + index * 8, mfn * 4096 + flags);
	};
	const upper = PRESENT | WRITABLE | USER | ACCESSED;
	entry(l4, 0, l3, upper);
	entry(userL4, 0, l3, upper);
	entry(l3, 0, l2, upper);
	entry(l2, 2, l1, upper);
	for (const index of [0, 1, 2, 3, 6]) entry(l1, index, allocate(), upper);
	entry(l1, 4, l1, PRESENT | USER | ACCESSED);
	const gdt = allocate();
	entry(l1, 7, gdt, PRESENT | USER | ACCESSED);
	// Entries 3 to 6: kernel data, 32-bit code, data, 64-bit code, all of ring 3.
	for (const [index, high] of [
		[3, 0x00cf_f300],
		[4, 0x00cf_fb00],
		[5, 0x00cf_f300],
		[6, 0x00af_fb00],
	] as const) {
		memory.setU32(memory.frame(gdt) + index * 8, 0xffff);
		memory.setU32(memory.frame(gdt) + index * 8 + 4, high);
	}
	domain.vmAssist = 1 << 2;
	const adopted = adoptInitialTables(domain, l4);
	if (adopted !== 0) throw new Error(`tables refused: ${adopted} ${hypervisor.log.read()}`);
	processor.setRoot(0, l4);
	if (setUserRoot(vcpu, userL4) !== 0) throw new Error("user table refused");
	vcpu.vcpuInfo = domain.sharedInfo;
	vcpu.online = true;
	vcpu.initialised = true;
	vcpu.gdtFrames[0] = gdt;
	vcpu.gdtEntries = 512;
	vcpu.kernelStackPointer = STACK2_TOP;
	hypervisor.scheduler.current = vcpu;
	const { registers } = vcpu;
	registers.rip = CODE;
	registers.set(Gpr.rsp, STACK_TOP - 0x100);

	const at = (virtualAddress: number): number => {
		const linear = processor.translate(virtualAddress, Access.read, 0);
		if (linear < 0) throw new Error(`not mapped: ${virtualAddress.toString(16)}`);
		return linear;
	};
	return {
		hypervisor,
		processor,
		memory,
		domain,
		vcpu,
		registers,
		isMapped: (virtualAddress) => processor.translate(virtualAddress, Access.read, 0) >= 0,
		at,
		words: (virtualAddress, count) =>
			Array.from({ length: count }, (_, index) => memory.i64(at(virtualAddress + index * 8))),
		code: (...bytes) => {
			bytes.forEach((byte, index) => {
				const to = at(registers.rip + index);
				processor.codeChanged(memory.frameAt(to));
				memory.setU8(to, byte);
			});
		},
	};
}
