import { beforeEach, describe, expect, it } from "vitest";
import { DOMID_SELF } from "../../../src/xen/abi/domid.ts";
import { Errno } from "../../../src/xen/abi/errno.ts";
import { MemoryCommand } from "../../../src/xen/abi/memory.ts";
import { memoryHypercalls, setMemoryMapLimit } from "../../../src/xen/hypercalls/memory.ts";
import { audit } from "./audit.ts";
import { type Guest, L1, L4, Machine } from "./machine.ts";

let machine: Machine;
let guest: Guest;
beforeEach(() => {
	machine = new Machine();
	guest = machine.guest(1, 64);
});
const mfn = (pfn: number) => guest.mfns[pfn]!;
const op = (command: number, address: number) => machine.call(guest, memoryHypercalls, "memory_op", command, address);
const word = (pfn: number, index: number) => machine.entry(mfn(pfn), index);

/** struct xen_memory_reservation at frame 60, its list at frame 61. */
function reservation(list: (bigint | number)[], order = 0, flags = 0, domid = DOMID_SELF): number {
	const at = machine.put(guest, 61, list);
	return machine.put(guest, 60, [at, list.length, (BigInt(flags) << 32n) | BigInt(order), domid]);
}

describe("reservations", () => {
	it("give frames back and take others", () => {
		const unmapped = machine.frames.allocate(1)!;
		guest.domain.maximumPages = 65;
		expect(op(MemoryCommand.currentReservation, machine.put(guest, 62, [DOMID_SELF]))).toBe(65);
		expect(op(MemoryCommand.decreaseReservation, reservation([unmapped]))).toBe(1);
		expect(guest.domain.pages).toBe(64);
		expect(op(MemoryCommand.populatePhysmap, reservation([1000]))).toBe(1);
		const got = Number(word(61, 0));
		expect(machine.frames.owner(got)).toBe(1);
		expect(machine.frames.m2p(got)).toBe(1000);
		expect(op(MemoryCommand.populatePhysmap, reservation([1001]))).toBe(0);
		expect(machine.lines.at(-1)).toMatch(/Over-allocation/);
		expect(op(MemoryCommand.maximumReservation, machine.put(guest, 62, [1]))).toBe(65);
		expect(audit(machine)).toEqual([]);
	});

	it("keep a frame that is still mapped until it is not", () => {
		expect(op(MemoryCommand.decreaseReservation, reservation([mfn(20)]))).toBe(1);
		expect(machine.frames.owner(mfn(20))).toBe(1);
		expect(audit(machine)).toEqual([]);
	});

	it("stop at the first extent that is wrong", () => {
		expect(op(MemoryCommand.decreaseReservation, reservation([mfn(20), 2 ** 41, mfn(21)]))).toBe(1);
		expect(op(MemoryCommand.decreaseReservation, reservation([2n ** 63n]))).toBe(0);
		expect(op(MemoryCommand.decreaseReservation, reservation([machine.frames.machineToPhysical.firstFrame]))).toBe(0);
		expect(op(MemoryCommand.increaseReservation, reservation([0], 10))).toBe(0);
		expect(op(MemoryCommand.populatePhysmap, 64)).toBe(0);
		expect(op(MemoryCommand.populatePhysmap, reservation([5], 0, 0, 77))).toBe(0);
	});

	it("go on after a preemption", () => {
		guest.domain.maximumPages = 300;
		machine.frames.workSlice = 1;
		expect(op(MemoryCommand.populatePhysmap, reservation(Array.from({ length: 100 }, (_, i) => 500 + i)))).toBe(100);
		expect(machine.preemptions).toBeGreaterThan(10);
		expect(guest.domain.pages).toBe(164);
		expect(new Set(Array.from({ length: 100 }, (_, i) => word(61, i))).size).toBe(100);
	});

	it("come in rows", () => {
		guest.domain.maximumPages = 300;
		expect(op(MemoryCommand.populatePhysmap, reservation([512, 544], 5))).toBe(2);
		const first = Number(word(61, 1));
		expect(first % 32).toBe(0);
		expect(machine.frames.m2p(first + 31)).toBe(544 + 31);
	});
});

describe("exchange", () => {
	/** Two reservations and a count, at frame 60; the lists at 61 and 62. */
	function exchange(input: number[], inOrder: number, output: number[], outOrder: number): number {
		const inList = machine.put(guest, 61, input);
		const outList = machine.put(guest, 62, output);
		return machine.put(guest, 60, [
			...[inList, input.length, inOrder, DOMID_SELF],
			...[outList, output.length, outOrder, DOMID_SELF],
			0,
		]);
	}

	it("makes a row of single frames", () => {
		const loose = Array.from({ length: 8 }, () => machine.frames.allocate(1)!);
		guest.domain.maximumPages = 72;
		expect(op(MemoryCommand.exchange, exchange(loose, 0, [700], 3))).toBe(0);
		const row = Number(word(62, 0));
		expect(row % 8).toBe(0);
		expect(machine.frames.m2p(row + 7)).toBe(707);
		expect(word(60, 8)).toBe(8n);
		expect(guest.domain.pages).toBe(72);
		for (const frame of loose) if (frame < row || frame >= row + 8) expect(machine.frames.owner(frame)).toBeUndefined();
		expect(audit(machine)).toEqual([]);
	});

	it("leaves all as it was where a frame is in use", () => {
		const loose = machine.frames.allocate(1)!;
		const { free } = machine.frames;
		expect(op(MemoryCommand.exchange, exchange([loose, mfn(20)], 0, [700], 1))).toBe(-Errno.EINVAL);
		expect(machine.frames.owner(loose)).toBe(1);
		expect(machine.frames.free).toBe(free);
		expect(word(60, 8)).toBe(0n);
		expect(audit(machine)).toEqual([]);
	});

	it("refuses lists that do not match, and what is too large", () => {
		expect(op(MemoryCommand.exchange, exchange([1, 2, 3], 0, [700], 1))).toBe(-Errno.EINVAL);
		expect(op(MemoryCommand.exchange, exchange([1], 10, [700], 10))).toBe(-Errno.EPERM);
		expect(op(MemoryCommand.exchange | 64, exchange([1], 0, [700], 0))).toBe(-Errno.EINVAL);
		expect(op(MemoryCommand.exchange, 64)).toBe(-Errno.EFAULT);
	});
});

describe("what a guest asks about memory", () => {
	it("is its map, where there is one", () => {
		const buffer = machine.put(guest, 61, [0, 0, 0]);
		const request = () => machine.put(guest, 60, [128, buffer]);
		expect(op(MemoryCommand.memoryMap, request())).toBe(0);
		expect(word(61, 1)).toBe(64n * 4096n);
		setMemoryMapLimit(guest.domain, 5 * 2 ** 30);
		expect(op(MemoryCommand.memoryMap, request())).toBe(0);
		expect([word(60, 0), word(61, 0), word(61, 1), word(61, 2) & 0xffff_ffffn]).toEqual([1n, 0n, 5n << 30n, 1n]);
		// A guest may set its own.
		machine.put(guest, 61, [0x1000, 0x2000, 2]);
		expect(op(MemoryCommand.setMemoryMap, machine.put(guest, 60, [DOMID_SELF, 1, buffer]))).toBe(0);
		machine.put(guest, 61, [0, 0, 0]);
		expect(op(MemoryCommand.memoryMap, request())).toBe(0);
		expect([word(61, 0), word(61, 1)]).toEqual([0x1000n, 0x2000n]);
		expect(op(MemoryCommand.setMemoryMap, machine.put(guest, 60, [DOMID_SELF, 1025, buffer]))).toBe(-Errno.EINVAL);
	});

	it("is where the M2P is", () => {
		expect(op(MemoryCommand.machphysMapping, machine.put(guest, 60, [0, 0, 0]))).toBe(0);
		expect([word(60, 0), word(60, 1), word(60, 2)]).toEqual([
			0xffff_8000_0000_0000n,
			0xffff_8040_0000_0000n,
			2n ** 35n - 1n,
		]);
		const list = machine.put(guest, 61, [0]);
		expect(op(MemoryCommand.machphysMfnList, machine.put(guest, 60, [8, list, 0]))).toBe(0);
		expect(word(61, 0)).toBe(BigInt(machine.frames.machineToPhysical.firstFrame));
		expect(word(60, 2)).toBe(1n);
		expect(op(MemoryCommand.maximumRamPage, 0)).toBe(1000);
	});

	it("is refused where it is not the guest's business", () => {
		machine.guest(2, 16);
		machine.processor.setRoot(0, mfn(L4));
		expect(op(MemoryCommand.currentReservation, machine.put(guest, 60, [2]))).toBe(-Errno.EPERM);
		expect(op(MemoryCommand.currentReservation, machine.put(guest, 60, [3]))).toBe(-Errno.ESRCH);
		expect(op(MemoryCommand.machineMemoryMap, 0)).toBe(-Errno.EPERM);
		expect(op(MemoryCommand.addToPhysmap, machine.put(guest, 60, [DOMID_SELF, 0, 0]))).toBe(-Errno.EACCES);
		expect(op(MemoryCommand.claimPages, machine.put(guest, 60, [0, 1, 0, 1]))).toBe(-Errno.EPERM);
		expect(op(18, 0)).toBe(0);
		expect(op(20, 0)).toBe(-Errno.ENOSYS);
		expect(op(63, 0)).toBe(-Errno.ENOSYS);
		expect(op(MemoryCommand.currentReservation, 64)).toBe(-Errno.EFAULT);
		expect(machine.frames.type(mfn(L1))).not.toBe(0);
	});
});
