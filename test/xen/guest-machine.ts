/**
 * Machines for tests of events, grants, time and scheduling: real memory, frames and page tables, any number of guests, hypercalls
 * made directly, and a processor whose runs are a function of the test's.
 */

import { Access, Exit } from "../../src/cpu/processor.ts";
import { type Clock, DeterministicClock } from "../../src/machine/clock.ts";
import { Memory } from "../../src/memory/memory.ts";
import type { Domain } from "../../src/xen/domain.ts";
import { EventChannels } from "../../src/xen/events/events.ts";
import { GrantTable } from "../../src/xen/grants/grants.ts";
import { Arguments, PREEMPTED } from "../../src/xen/hypercall.ts";
import { hypercallTable } from "../../src/xen/hypercalls/index.ts";
import { initialVcpuInfo } from "../../src/xen/hypercalls/vcpu.ts";
import { Hypervisor } from "../../src/xen/hypervisor.ts";
import { adoptInitialTables } from "../../src/xen/mm/roots.ts";
import type { SchedulerOptions } from "../../src/xen/scheduler.ts";
import type { Vcpu } from "../../src/xen/vcpu.ts";
import { FakeProcessor } from "./fake-processor.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;

/** Writable pages of a guest, from {@link page}(0) on; the L1 table itself is mapped read-only behind them, and then nothing. */
export const PAGES = 16;
export const page = (index: number): number => 0x40_0000 + index * 4096;
export const TABLE = page(PAGES);
export const HOLE = page(PAGES + 1);
/** Where hypercall arguments go. */
export const ARGS = page(0);

export const Call = {
	schedCompat: 6,
	setTimer: 15,
	eventCompat: 16,
	version: 17,
	consoleIo: 18,
	physdevCompat: 19,
	grantTable: 20,
	vcpu: 24,
	sched: 29,
	event: 32,
	physdev: 33,
} as const;

export class MachineProcessor extends FakeProcessor {
	slot = 0;
	/** What a run does; it must not execute more than `fuel`. */
	onRun: ((fuel: number, slot: number) => Exit) | undefined;

	override run(fuel: number): Exit {
		if (this.onRun !== undefined) return this.onRun(fuel, this.slot);
		this.executed += fuel;
		return Exit.fuel;
	}
	override switchContext(slot?: number): void {
		this.slot = slot ?? 0;
	}
}

export class Guest {
	constructor(
		readonly domain: Domain,
		private readonly processor: MachineProcessor,
		/** Machine frames of the writable pages, and of the L1 table. */
		readonly mfns: readonly number[],
		readonly l1: number,
		readonly l4: number,
	) {}

	get hypervisor(): Hypervisor {
		return this.domain.hypervisor;
	}
	get memory(): Memory {
		return this.domain.hypervisor.memory;
	}
	vcpu(id = 0): Vcpu {
		return this.domain.vcpus[id] as Vcpu;
	}

	/** Linear address of a virtual address. */
	at(virtualAddress: number): number {
		this.processor.setRoot(0, this.l4);
		const linear = this.processor.translate(virtualAddress, Access.read, 0);
		if (linear < 0) throw new Error(`not mapped: ${virtualAddress.toString(16)}`);
		return linear;
	}
	/** Writes words of 1, 2, 4 or 8 bytes at a virtual address: [offset, size, value]. */
	put(virtualAddress: number, ...fields: readonly (readonly [number, number, number])[]): void {
		const at = this.at(virtualAddress);
		for (const [offset, size, value] of fields) {
			if (size === 1) this.memory.setU8(at + offset, value);
			else if (size === 2) this.memory.setU16(at + offset, value);
			else if (size === 4) this.memory.setU32(at + offset, value);
			else this.memory.setU64(at + offset, value);
		}
	}
	/** The L1 entry of page `index`, its low half. */
	entry(index: number): number {
		return this.memory.u32(this.memory.frame(this.l1) + index * 8);
	}

	/** Makes a hypercall of a vCPU, as often as it is preempted. */
	call(number: number, ...args: number[]): number {
		return this.callAs(this.vcpu(), number, ...args);
	}
	callAs(vcpu: Vcpu, number: number, ...args: number[]): number {
		this.processor.setRoot(0, vcpu.kernelRoot);
		const words = new Arguments();
		args.forEach((value, index) => {
			words.setNumber(index, value);
		});
		const hypercall = hypercallTable[number];
		if (hypercall === undefined) throw new Error(`no hypercall ${number}`);
		for (let tries = 0; tries < 100_000; tries++) {
			const result = hypercall.handler(vcpu, words);
			if (typeof result === "number") return result;
			if (result !== PREEMPTED) throw new Error("registers set");
		}
		throw new Error("preempted for ever");
	}
	/** event_channel_op with u32 arguments at ARGS; the words there afterwards. */
	event(command: number, ...words: number[]): number {
		words.forEach((word, index) => {
			this.put(ARGS, [index * 4, 4, word]);
		});
		return this.call(Call.event, command, ARGS);
	}
	word(index: number, virtualAddress = ARGS): number {
		return this.memory.u32(this.at(virtualAddress) + index * 4);
	}
}

export interface TestMachine {
	readonly hypervisor: Hypervisor;
	readonly processor: MachineProcessor;
	addGuest(vcpus?: number): Guest;
}

export function createMachine(
	options: { clock?: Clock; scheduler?: SchedulerOptions; frames?: number } = {},
): TestMachine {
	let processor!: MachineProcessor;
	const hypervisor = new Hypervisor({
		memory: new Memory(options.frames ?? 512),
		createProcessor: (memory) => {
			processor = new MachineProcessor(memory);
			return processor;
		},
		createClock: (of) => options.clock ?? new DeterministicClock(of),
		...(options.scheduler === undefined ? {} : { scheduler: options.scheduler }),
	});
	const addGuest = (vcpus = 1): Guest => {
		const { memory, frames } = hypervisor;
		const domain = hypervisor.createDomain("guest");
		domain.maximumPages = 64;
		domain.sharedInfoFrame = frames.allocateShared(domain.id) as number;
		domain.events = new EventChannels(domain);
		domain.grants = new GrantTable(domain);
		for (let index = 0; index < vcpus; index++) domain.addVcpu();
		const allocate = (): number => frames.allocate(domain.id) as number;
		const [l4, l3, l2, l1] = [allocate(), allocate(), allocate(), allocate()] as const;
		const entry = (table: number, index: number, mfn: number, flags: number): void => {
			memory.setU64(memory.frame(table) + index * 8, mfn * 4096 + flags);
		};
		const all = PRESENT | WRITABLE | USER | ACCESSED;
		entry(l4, 0, l3, all);
		entry(l3, 0, l2, all);
		entry(l2, 2, l1, all);
		const mfns = Array.from({ length: PAGES }, allocate);
		mfns.forEach((mfn, index) => {
			entry(l1, index, mfn, all);
		});
		entry(l1, PAGES, l1, PRESENT | USER | ACCESSED);
		const adopted = adoptInitialTables(domain, l4);
		if (adopted !== 0) throw new Error(`tables refused: ${adopted} ${hypervisor.log.read()}`);
		for (const vcpu of domain.vcpus) {
			vcpu.vcpuInfo = initialVcpuInfo(vcpu);
			vcpu.kernelRoot = l4;
			vcpu.initialised = true;
		}
		hypervisor.scheduler.bringUp(domain.vcpus[0] as Vcpu);
		return new Guest(domain, processor, mfns, l1, l4);
	};
	return { hypervisor, processor, addGuest };
}
