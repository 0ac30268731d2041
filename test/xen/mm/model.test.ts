/**
 * Any sequence of memory operations, sensible or hostile: after each, every count is what the tables, pins and vCPUs add up to, no TLB entry
 * lets a table be written, and in the end nothing of the domain is left.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { STORE_BUFFER } from "../../../src/cpu/layout.ts";
import { Access, PageFault } from "../../../src/cpu/processor.ts";
import { Memory } from "../../../src/memory/memory.ts";
import { DOMID_SELF } from "../../../src/xen/abi/domid.ts";
import { MemoryCommand } from "../../../src/xen/abi/memory.ts";
import { MmuextCommand } from "../../../src/xen/abi/mmu.ts";
import { Arguments } from "../../../src/xen/hypercall.ts";
import { descriptorHypercalls } from "../../../src/xen/hypercalls/descriptors.ts";
import { memoryHypercalls } from "../../../src/xen/hypercalls/memory.ts";
import { mmuHypercalls } from "../../../src/xen/hypercalls/mmu.ts";
import { readDescriptor } from "../../../src/xen/mm/gdt.ts";
import { storeToTable, writtenTable } from "../../../src/xen/mm/ptwr.ts";
import { outstandingReferences, relinquishDomain } from "../../../src/xen/mm/relinquish.ts";
import { audit } from "./audit.ts";
import { type Guest, KERNEL, L4, Machine, P, pte, RW, US } from "./machine.ts";

const FRAMES = 40;
const ARGUMENTS = 36;
const LIST = 37;

/**
 * Tables that the guest has made for itself, read-only and not in use yet: for each the entries in its first slots. Two L4 tables at 4, two L3
 * at 6, two L2 at 8, four L1 at 10.
 */
const PREPARED: Readonly<Record<number, readonly number[]>> = {
	4: [6, 7, 6],
	5: [7, 6],
	6: [8, 9],
	7: [9],
	8: [10, 11, 12],
	9: [12, 13, 10],
	10: [20, 21, 10],
	11: [20, 22],
	12: [23, 4],
	13: [24, 25, 26],
};
/** Frames that operations name: mostly those of the tables, so that they meet; sometimes any. */
const frame = fc.oneof(
	{ weight: 12, arbitrary: fc.integer({ min: 4, max: 13 }) },
	{ weight: 3, arbitrary: fc.integer({ min: 0, max: 26 }) },
	fc.integer({ min: 0, max: 60 }),
);
const slot = fc.oneof(
	{ weight: 9, arbitrary: fc.constantFrom(0, 1, 2, 3) },
	fc.constantFrom(255, 256, 271, 272, 510, 511),
	fc.integer({ min: 4, max: 20 }),
);
const flags = fc.oneof(
	{ weight: 8, arbitrary: fc.constantFrom(P, P, P | RW, P | RW | US, P | US, 0) },
	fc.constantFrom(P | 0x80, P | 0x18, P | 0x100),
);
const operation = fc.record({
	kind: fc.integer({ min: 0, max: 15 }),
	a: frame,
	b: frame,
	slot,
	flags,
	/** Work before a preemption, and whether the guest takes up what was preempted. */
	work: fc.constantFrom(1, 600, 100_000),
	resume: fc.boolean(),
});
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const sharedMemory = new Memory(700);

class Run {
	readonly machine = new Machine(700, sharedMemory);
	readonly other: Guest;
	readonly guest: Guest;
	readonly free: number;

	constructor() {
		this.free = this.machine.frames.free;
		this.other = this.machine.guest(2, 16);
		this.guest = this.machine.guest(1, FRAMES);
		this.guest.domain.maximumPages = FRAMES + 4;
		for (const [pfn, targets] of Object.entries(PREPARED)) {
			for (const [index, target] of targets.entries()) {
				const writable = Number(pfn) >= 10 && target >= 20;
				this.machine.poke(this.mfn(Number(pfn)), index, pte(this.mfn(target), writable ? P | RW : P));
			}
			const at = KERNEL + Number(pfn) * 4096;
			this.machine.call(this.guest, mmuHypercalls, "update_va_mapping", at, pte(this.mfn(Number(pfn)), P), 0);
		}
	}

	/** The machine frame of a number: the guest's, then the other guest's, then what is nobody's. */
	mfn(number: number): number {
		if (number < FRAMES) return this.guest.mfns[number]!;
		return number < 56 ? this.other.mfns[number - FRAMES]! : ([1, 699, 700, 2 ** 40][number - 56] ?? 0);
	}

	call(op: Operation, list: typeof mmuHypercalls, name: string, ...values: (number | bigint)[]): void {
		const { frames } = this.machine;
		frames.workSlice = op.work;
		if (op.resume) {
			this.machine.call(this.guest, list, name, ...values);
		} else {
			const args = new Arguments();
			for (const [index, value] of values.entries()) {
				const bits = BigInt.asUintN(64, BigInt(value));
				args.set(index, Number(bits & 0xffff_ffffn), Number(bits >> 32n));
			}
			list.find((entry) => entry.name === name)!.handler(this.guest.vcpu, args);
		}
	}

	/** Arguments go to memory past all checks: the guest's own frames for them may meanwhile be anything. */
	store(words: readonly (number | bigint)[]): number {
		return this.machine.put(this.other, 12, words);
	}

	mmuext(op: Operation, command: number, arg1: number | bigint, arg2: number | bigint = 0): void {
		const at = this.machine.put(this.guest, ARGUMENTS, [command, arg1, arg2]);
		this.call(op, mmuHypercalls, "mmuext_op", at, 1, 0, DOMID_SELF);
	}

	apply(op: Operation): void {
		const { machine, guest } = this;
		const target = this.mfn(op.a);
		const value = pte(this.mfn(op.b), op.flags);
		const address = KERNEL + op.a * 4096;
		switch (op.kind) {
			case 0:
			case 1:
			case 2:
			case 3: {
				const at = machine.put(guest, ARGUMENTS, [BigInt(target) * 4096n + BigInt(op.slot * 8 + (op.kind & 2)), value]);
				this.call(op, mmuHypercalls, "mmu_update", at, 1, 0, DOMID_SELF);
				break;
			}
			case 4:
			case 5:
				// Keep the pages of the arguments.
				if (op.a < ARGUMENTS) {
					this.call(op, mmuHypercalls, "update_va_mapping", address, pte(this.mfn(op.a), op.flags), 0);
				}
				break;
			case 6:
			case 7:
			case 8: {
				// At its right level, mostly: the prepared tables' follow from their numbers.
				const level = op.a >= 10 ? 0 : op.a >= 8 ? 1 : op.a >= 6 ? 2 : 3;
				this.mmuext(op, MmuextCommand.pinL1Table + (op.slot === 3 ? op.b & 3 : level), target);
				break;
			}
			case 9:
				if (target !== guest.mfns[L4]) this.mmuext(op, MmuextCommand.unpinTable, target);
				break;
			case 10:
				this.mmuext(op, MmuextCommand.newUserBaseptr, target);
				break;
			case 11: {
				// The guest's own store, where its mapping lets it.
				const linear = machine.processor.translate(address + op.slot * 8, Access.write, 0);
				if (linear >= 0) machine.memory.setBig(linear, value);
				break;
			}
			case 12: {
				machine.memory.setBig(STORE_BUFFER, value);
				const table = writtenTable(guest.vcpu, address, PageFault.present | PageFault.write);
				if (table !== 0) storeToTable(guest.vcpu, table, op.slot * 8, 8, STORE_BUFFER);
				break;
			}
			case 13: {
				const at = machine.put(guest, LIST, [target]);
				this.call(op, descriptorHypercalls, "set_gdt", at, op.slot);
				break;
			}
			case 14:
				this.mmuext(op, MmuextCommand.setLdt, address, op.slot);
				readDescriptor(guest.vcpu, 4, { low: 0, high: 0 });
				break;
			default: {
				const list = machine.put(guest, LIST, [target]);
				const at = machine.put(guest, ARGUMENTS, [list, 1, 0, DOMID_SELF]);
				const command = (op.slot & 1) === 0 ? MemoryCommand.populatePhysmap : MemoryCommand.decreaseReservation;
				if (op.a < ARGUMENTS) this.call(op, memoryHypercalls, "memory_op", command, at);
			}
		}
	}
}

describe("memory management under any sequence of operations", () => {
	it("keeps its counts, protects its tables, and leaves nothing behind", { timeout: 60_000 }, () => {
		fc.assert(
			fc.property(fc.array(operation, { minLength: 1, maxLength: 80, size: "max" }), (operations) => {
				const run = new Run();
				for (const op of operations) {
					run.apply(op);
					expect(audit(run.machine)).toEqual([]);
				}
				relinquishDomain(run.guest.domain);
				expect(outstandingReferences(run.machine.frames, 1)).toEqual({ references: 0, types: 0 });
				expect(run.guest.domain.pages).toBe(0);
				relinquishDomain(run.other.domain);
				expect(run.machine.frames.free).toBe(run.free);
			}),
			{ numRuns: 60, seed: 1 },
		);
	});
});
