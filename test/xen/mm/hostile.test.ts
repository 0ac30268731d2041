/** Arguments that no kernel would give: no call may throw, run on without end, or touch what is not the guest's. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Memory } from "../../../src/memory/memory.ts";
import { Arguments, PREEMPTED } from "../../../src/xen/hypercall.ts";
import { descriptorHypercalls } from "../../../src/xen/hypercalls/descriptors.ts";
import { memoryHypercalls } from "../../../src/xen/hypercalls/memory.ts";
import { mmuHypercalls } from "../../../src/xen/hypercalls/mmu.ts";
import { vmAssistHypercalls } from "../../../src/xen/hypercalls/vm-assist.ts";
import { audit } from "./audit.ts";
import { KERNEL, Machine } from "./machine.ts";

const calls = [...mmuHypercalls, ...memoryHypercalls, ...descriptorHypercalls, ...vmAssistHypercalls];
const ALL = 2n ** 64n - 1n;

const word = fc.oneof(
	{ weight: 3, arbitrary: fc.bigInt({ min: 0n, max: 30n }) },
	{ weight: 3, arbitrary: fc.constantFrom(0x7ff0n, 0x7ff1n, 0x7ff2n, 0x7fffn, 1n << 32n, 0x8000_0000n, 0xffff_ffffn) },
	// Addresses: the guest's memory, odd, at its end, user space, the hypervisor's.
	{
		weight: 6,
		arbitrary: fc.integer({ min: 0, max: 39 * 4096 }).map((offset) => BigInt.asUintN(64, BigInt(KERNEL + offset))),
	},
	fc.constantFrom(0xffff_8000_0000_0000n, 1n << 47n, (1n << 47n) - 8n, 1n << 63n, ALL, ALL - 7n),
	// Page-table entries and machine addresses.
	fc.bigInt({ min: 0n, max: 720n }).map((mfn) => (mfn << 12n) | 3n),
	fc.bigInt({ min: 0n, max: ALL }),
);

describe("hostile arguments", () => {
	it("neither throw nor reach what is another's", { timeout: 60_000 }, () => {
		const request = fc.record({
			call: fc.integer({ min: 0, max: calls.length - 1 }),
			command: fc.integer({ min: 0, max: 30 }),
			args: fc.array(word, { minLength: 6, maxLength: 6 }),
			words: fc.array(word, { minLength: 24, maxLength: 24 }),
		});
		const memory = new Memory(700);
		fc.assert(
			fc.property(fc.array(request, { minLength: 1, maxLength: 30, size: "max" }), (requests) => {
				const machine = new Machine(700, memory);
				const other = machine.guest(2, 16);
				const guest = machine.guest(1, 40);
				const before = other.mfns.map((mfn) => machine.entry(mfn, 9));
				for (const { call, command, args, words } of requests) {
					const at = machine.put(guest, 30, words);
					const values = new Arguments();
					for (const [index, value] of args.entries()) {
						values.set(index, Number(value & 0xffff_ffffn), Number(value >> 32n));
					}
					const hypercall = calls[call]!;
					if (hypercall.name === "memory_op") {
						values.set(0, command, 0);
						values.setNumber(1, at);
					} else if (hypercall.name === "mmuext_op") {
						machine.memory.setU32(machine.memory.frame(guest.mfns[30]!), command);
						values.setNumber(0, at);
					}
					const result = hypercall.handler(guest.vcpu, values);
					expect(typeof result === "number" || result === PREEMPTED).toBe(true);
					// What it did to its own memory may have taken the page of arguments, or all, from it.
					if (machine.frames.owner(guest.mfns[30]!) !== 1 || guest.vcpu.kernelRoot !== guest.mfns[0]) break;
				}
				expect(other.mfns.map((mfn) => machine.entry(mfn, 9))).toEqual(before);
				expect(other.mfns.map((mfn) => machine.frames.owner(mfn))).toEqual(before.map(() => 2));
				expect(audit(machine)).toEqual([]);
			}),
			{ numRuns: 150, seed: 3 },
		);
	});
});
