import { beforeEach, describe, expect, it } from "vitest";
import { STORE_BUFFER } from "../../../src/cpu/layout.ts";
import { Access } from "../../../src/cpu/processor.ts";
import { DOMID_SELF } from "../../../src/xen/abi/domid.ts";
import { Errno } from "../../../src/xen/abi/errno.ts";
import { MmuextCommand } from "../../../src/xen/abi/mmu.ts";
import { mmuHypercalls } from "../../../src/xen/hypercalls/mmu.ts";
import { vmAssistHypercalls } from "../../../src/xen/hypercalls/vm-assist.ts";
import { FrameType } from "../../../src/xen/mm/frame-info.ts";
import { storeToTable, writtenTable } from "../../../src/xen/mm/ptwr.ts";
import { outstandingReferences, relinquishDomain } from "../../../src/xen/mm/relinquish.ts";
import { audit } from "./audit.ts";
import { type Guest, KERNEL, L1, L2, L3, L4, Machine, P, pte, RW, US } from "./machine.ts";

const GLOBAL = 0x100;
const GUEST_KERNEL = 1n << 52n;
const DATA = 20;

let machine: Machine;
let guest: Guest;

beforeEach(() => {
	machine = new Machine();
	guest = machine.guest(1, 64);
});

const mfn = (pfn: number) => guest.mfns[pfn]!;
const machineAddress = (pfn: number, slot: number) => BigInt(mfn(pfn)) * 4096n + BigInt(slot) * 8n;

/** mmu_update of requests [address, value]. */
function update(requests: (readonly [bigint, bigint])[], domid = DOMID_SELF): number {
	const address = machine.put(guest, 60, requests.flat());
	return machine.call(guest, mmuHypercalls, "mmu_update", address, requests.length, 0, domid);
}

function mmuext(command: number, arg1: bigint | number = 0, arg2: bigint | number = 0): number {
	const address = machine.put(guest, 61, [command, arg1, arg2]);
	return machine.call(guest, mmuHypercalls, "mmuext_op", address, 1, 0, DOMID_SELF);
}

function map(pfn: number, value: bigint, flags = 0): number {
	return machine.call(guest, mmuHypercalls, "update_va_mapping", KERNEL + pfn * 4096, value, flags);
}

/** Makes a frame a table, read-only in the guest, with these entries. */
function makeTable(pfn: number, entries: Record<number, bigint> = {}): void {
	for (const [slot, value] of Object.entries(entries)) machine.poke(mfn(pfn), Number(slot), value);
	expect(map(pfn, pte(mfn(pfn), P))).toBe(0);
}

describe("initial tables", () => {
	it("have their types, and every count matches what refers to them", () => {
		expect([L4, L3, L2, L1].map((pfn) => machine.frames.type(mfn(pfn)))).toEqual([
			FrameType.l4,
			FrameType.l3,
			FrameType.l2,
			FrameType.l1,
		]);
		expect(machine.frames.pinned(mfn(L4))).toBe(true);
		expect(machine.frames.typeCount(mfn(L4))).toBe(2);
		expect(audit(machine)).toEqual([]);
	});

	it("show the M2P, read-only", () => {
		const at = -(2 ** 47) + mfn(DATA) * 8;
		const linear = machine.processor.translate(at, Access.read, 0);
		expect(machine.memory.u64(linear)).toBe(DATA);
		expect(machine.processor.translate(at, Access.write, 0)).toBe(-1);
	});

	it("mark the guest kernel's pages, which to the processor are a user's", () => {
		expect(machine.entry(mfn(L1), DATA)).toBe(pte(mfn(DATA), P | RW | US) | GUEST_KERNEL);
	});
});

describe("mmu_update", () => {
	it("changes an L1 entry and its references", () => {
		expect(update([[machineAddress(L1, DATA), 0n]])).toBe(0);
		expect(machine.frames.references(mfn(DATA))).toBe(1);
		expect(machine.frames.typeCount(mfn(DATA))).toBe(0);
		expect(update([[machineAddress(L1, 200), pte(mfn(DATA), P | RW | US)]])).toBe(0);
		expect(machine.entry(mfn(L1), 200)).toBe(pte(mfn(DATA), P | RW | US | GLOBAL));
		expect(machine.frames.references(mfn(DATA))).toBe(2);
		expect(audit(machine)).toEqual([]);
	});

	it("keeps accessed and dirty where asked to", () => {
		const at = machineAddress(L1, DATA);
		machine.poke(mfn(L1), DATA, machine.entry(mfn(L1), DATA) | 0x60n);
		expect(update([[at | 2n, pte(mfn(DATA), P)]])).toBe(0);
		expect(machine.entry(mfn(L1), DATA) & 0x63n).toBe(0x61n);
		expect(update([[at, pte(mfn(DATA), P)]])).toBe(0);
		expect(machine.entry(mfn(L1), DATA) & 0x63n).toBe(1n);
	});

	it("refuses a writable mapping of a page table", () => {
		expect(update([[machineAddress(L1, 200), pte(mfn(L2))]])).toBe(-Errno.EBUSY);
		expect(machine.entry(mfn(L1), 200)).toBe(0n);
		expect(machine.lines.at(-1)).toMatch(/Error getting mfn/);
		expect(audit(machine)).toEqual([]);
	});

	it("refuses frames that are another's, the hypervisor's, or none", () => {
		const other = machine.guest(2, 16);
		machine.processor.setRoot(0, mfn(L4));
		const at = machineAddress(L1, 200);
		expect(update([[at, pte(other.mfns[10]!, P)]])).toBe(-Errno.EBUSY);
		expect(update([[at, pte(machine.frames.machineToPhysical.firstFrame, P)]])).toBe(-Errno.EBUSY);
		expect(update([[at, pte(machine.frames.frames + 5, P)]])).toBe(-Errno.EPERM);
		expect(update([[at, 0xf_ffff_ffff_f001n]])).toBe(-Errno.EINVAL);
		expect(update([[BigInt(other.mfns[L1]!) * 4096n, 0n]])).toBe(-Errno.EINVAL);
	});

	it("refuses cache attributes, superpages and the hypervisor's slots", () => {
		expect(update([[machineAddress(L1, 200), pte(mfn(DATA), P | 0x18)]])).toBe(-Errno.EINVAL);
		expect(update([[machineAddress(L2, 5), pte(mfn(DATA), P | 0x80)]])).toBe(-Errno.EINVAL);
		expect(update([[machineAddress(L4, 256), 0n]])).toBe(-Errno.EINVAL);
		expect(update([[machineAddress(L4, 271), 0n]])).toBe(-Errno.EINVAL);
		expect(update([[machineAddress(L4, 272), 0n]])).toBe(0);
	});

	it("writes what is no table as memory, and nothing that is not the guest's to write", () => {
		expect(update([[machineAddress(DATA, 3), 0x1234_5678_9abc_def0n]])).toBe(0);
		expect(machine.entry(mfn(DATA), 3)).toBe(0x1234_5678_9abc_def0n);
		expect(update([[machineAddress(DATA, 3) | 4n, 0n]])).toBe(-Errno.ENOSYS);
	});

	it("sets the M2P", () => {
		expect(update([[machineAddress(DATA, 0) | 1n, 77n]])).toBe(0);
		expect(machine.frames.m2p(mfn(DATA))).toBe(77);
		expect(update([[1n, 77n]])).toBe(-Errno.EINVAL);
	});

	it("counts what it did before a failure", () => {
		const address = machine.put(guest, 60, [
			machineAddress(L1, 200),
			pte(mfn(DATA), P),
			machineAddress(L1, 201),
			pte(mfn(L1)),
		]);
		const done = machine.put(guest, 62, [99]);
		expect(machine.call(guest, mmuHypercalls, "mmu_update", address, 2, done, DOMID_SELF)).toBe(-Errno.EBUSY);
		expect(machine.memory.u32(machine.memory.frame(mfn(62)))).toBe(1);
	});

	it("knows only its own domain", () => {
		machine.guest(2, 16);
		machine.processor.setRoot(0, mfn(L4));
		expect(update([[machineAddress(L1, 200), 0n]], 2)).toBe(-Errno.EPERM);
		expect(update([], 2)).toBe(0);
		expect(update([], 3)).toBe(-Errno.ESRCH);
		expect(update([], 1)).toBe(-Errno.ESRCH);
		expect(update([], 3 << 16)).toBe(-Errno.EPERM);
		expect(update([], 9 << 16)).toBe(-Errno.ESRCH);
	});

	it("refuses requests that it cannot read, after those that it can", () => {
		const end = KERNEL + 64 * 4096;
		machine.put(guest, 63, [machineAddress(L1, 200), pte(mfn(DATA), P)], 4096 - 16);
		expect(machine.call(guest, mmuHypercalls, "mmu_update", end - 16, 2, 0, DOMID_SELF)).toBe(-Errno.EFAULT);
		expect(machine.entry(mfn(L1), 200)).not.toBe(0n);
		expect(machine.call(guest, mmuHypercalls, "mmu_update", -(2 ** 47), 1, 0, DOMID_SELF)).toBe(-Errno.EFAULT);
	});
});

describe("pinning", () => {
	it("checks a tree of tables, and drops it", () => {
		makeTable(30, { 7: pte(mfn(DATA)) });
		makeTable(31, { 0: pte(mfn(30)) });
		makeTable(32, { 0: pte(mfn(31)) });
		makeTable(33, { 0: pte(mfn(32)) });
		expect(mmuext(MmuextCommand.pinL4Table, mfn(33))).toBe(0);
		expect(machine.frames.isValid(mfn(30), FrameType.l1)).toBe(true);
		expect(machine.entry(mfn(33), 0)).toBe(pte(mfn(32), P | RW | US | 0x20));
		expect(audit(machine)).toEqual([]);
		expect(mmuext(MmuextCommand.pinL4Table, mfn(33))).toBe(-Errno.EINVAL);
		expect(mmuext(MmuextCommand.unpinTable, mfn(33))).toBe(0);
		expect(mmuext(MmuextCommand.unpinTable, mfn(33))).toBe(-Errno.EINVAL);
		expect(machine.frames.typeCount(mfn(30))).toBe(0);
		expect(map(30, pte(mfn(30)))).toBe(0);
		expect(audit(machine)).toEqual([]);
	});

	it("refuses a table that the guest can write, or with an entry that it may not have", () => {
		expect(mmuext(MmuextCommand.pinL1Table, mfn(30))).toBe(-Errno.EINVAL);
		makeTable(30, { 500: pte(mfn(DATA)), 501: pte(mfn(L1)) });
		expect(mmuext(MmuextCommand.pinL1Table, mfn(30))).toBe(-Errno.EBUSY);
		expect(machine.frames.typeCount(mfn(30))).toBe(0);
		expect(mmuext(MmuextCommand.pinL2Table, mfn(L1))).toBe(-Errno.EINVAL);
		expect(mmuext(MmuextCommand.pinL4Table, machine.frames.frames + 1)).toBe(-Errno.EINVAL);
		expect(mmuext(MmuextCommand.pinL4Table, 2n ** 63n)).toBe(-Errno.EINVAL);
		expect(audit(machine)).toEqual([]);
	});

	it("refuses a table that maps itself writable", () => {
		makeTable(30, { 0: pte(mfn(30)) });
		expect(mmuext(MmuextCommand.pinL1Table, mfn(30))).toBe(-Errno.EBUSY);
		machine.poke(mfn(30), 0, pte(mfn(30), P));
		expect(mmuext(MmuextCommand.pinL1Table, mfn(30))).toBe(0);
		expect(audit(machine)).toEqual([]);
	});

	it("goes on where it was preempted, up and down", () => {
		for (let pfn = 40; pfn < 56; pfn++) makeTable(pfn, { 0: pte(mfn(DATA)) });
		for (let pfn = 36; pfn < 40; pfn++) {
			makeTable(pfn, Object.fromEntries([0, 1, 2, 3].map((slot) => [slot, pte(mfn(40 + (pfn - 36) * 4 + slot))])));
		}
		makeTable(34, { 0: pte(mfn(36)), 9: pte(mfn(37)) });
		makeTable(35, { 0: pte(mfn(38)), 9: pte(mfn(39)) });
		makeTable(33, { 0: pte(mfn(34)), 1: pte(mfn(35)) });
		machine.frames.workSlice = 1;
		expect(mmuext(MmuextCommand.pinL4Table, mfn(33))).toBe(0);
		expect(machine.preemptions).toBeGreaterThan(5);
		expect(machine.frames.typeCount(mfn(DATA))).toBe(17);
		expect(audit(machine)).toEqual([]);
		machine.preemptions = 0;
		expect(mmuext(MmuextCommand.unpinTable, mfn(33))).toBe(0);
		expect(machine.preemptions).toBeGreaterThan(2);
		expect(machine.frames.typeCount(mfn(DATA))).toBe(1);
		expect(audit(machine)).toEqual([]);
	});

	it("drops in steps what it had checked before a failure, and then tells of it", () => {
		for (const pfn of [40, 41]) makeTable(pfn, { 0: pte(mfn(DATA)) });
		makeTable(38, { 0: pte(mfn(40)) });
		makeTable(39, { 0: pte(mfn(41)) });
		makeTable(36, { 0: pte(mfn(38)), 1: pte(mfn(39)), 2: pte(mfn(DATA)) });
		// Enough to come to the bad entry, not enough to drop both good ones at once.
		machine.frames.workSlice = 1200;
		expect(mmuext(MmuextCommand.pinL3Table, mfn(36))).toBe(-Errno.EINVAL);
		expect(machine.preemptions).toBe(1);
		expect(guest.domain.deferredTable).toBe(0);
		expect(machine.frames.typeCount(mfn(DATA))).toBe(1);
		expect(audit(machine)).toEqual([]);
	});

	it("allows linear mappings, read-only", () => {
		makeTable(33, { 5: pte(mfn(33), P) });
		expect(mmuext(MmuextCommand.pinL4Table, mfn(33))).toBe(0);
		expect(update([[machineAddress(33, 6), pte(mfn(33))]])).toBe(-Errno.EINVAL);
		expect(update([[machineAddress(33, 7), pte(mfn(L4), P)]])).toBe(0);
		// A table that is the target of such an entry may have none itself.
		expect(update([[machineAddress(L4, 7), pte(mfn(33), P)]])).toBe(-Errno.EINVAL);
		expect(audit(machine)).toEqual([]);
		expect(mmuext(MmuextCommand.unpinTable, mfn(33))).toBe(0);
		expect(audit(machine)).toEqual([]);
	});
});

describe("the TLB", () => {
	it("never lets a page table be written by a stale translation", () => {
		const address = KERNEL + 30 * 4096;
		expect(machine.processor.translate(address, Access.write, 0)).toBeGreaterThan(0);
		makeTable(30);
		expect(machine.processor.translate(address, Access.write, 0)).toBeGreaterThan(0);
		expect(mmuext(MmuextCommand.pinL1Table, mfn(30))).toBe(0);
		expect(machine.processor.translate(address, Access.write, 0)).toBe(-1);
	});

	it("forgets a frame that becomes a table, and no other", () => {
		const cached = (page: number) => machine.processor.tlb[0]!.has(Math.floor((KERNEL + page * 4096) / 4096));
		const touch = (page: number) => machine.processor.translate(KERNEL + page * 4096, Access.write, 0);
		touch(30);
		touch(DATA);
		// Its mapping goes, but the processor still knows it: a guest could go on writing to its table.
		makeTable(30);
		const { flushes } = machine.processor;
		touch(DATA);
		expect(mmuext(MmuextCommand.pinL1Table, mfn(30))).toBe(0);
		expect(cached(30)).toBe(false);
		expect(cached(DATA)).toBe(true);
		// From table to memory needs nothing: nothing could write it.
		expect(mmuext(MmuextCommand.unpinTable, mfn(30))).toBe(0);
		expect(map(30, pte(mfn(30)))).toBe(0);
		expect(machine.processor.flushes).toBe(flushes);
	});

	it("is flushed as the guest asks", () => {
		const address = KERNEL + DATA * 4096;
		const cached = () => machine.processor.tlb[0]!.has(Math.floor(address / 4096));
		const touch = () => machine.processor.translate(address, Access.read, 0);
		touch();
		expect(mmuext(MmuextCommand.invlpgLocal, address)).toBe(0);
		expect(cached()).toBe(false);
		touch();
		expect(mmuext(MmuextCommand.tlbFlushLocal)).toBe(0);
		// The tables still say so.
		expect(cached()).toBe(true);
		expect(map(DATA, pte(mfn(DATA), P))).toBe(0);
		expect(mmuext(MmuextCommand.tlbFlushMulti, 0, machine.put(guest, 62, [0]))).toBe(0);
		expect(cached()).toBe(true);
		expect(mmuext(MmuextCommand.tlbFlushMulti, 0, machine.put(guest, 62, [1]))).toBe(0);
		expect(cached()).toBe(false);
		touch();
		expect(map(DATA, pte(mfn(DATA), P), 2 | 4)).toBe(0);
		expect(cached()).toBe(false);
		touch();
		expect(map(DATA, pte(mfn(DATA), P), 1)).toBe(0);
		expect(cached()).toBe(false);
		expect(mmuext(MmuextCommand.tlbFlushMulti, 0, 64)).toBe(-Errno.EINVAL);
		expect(map(DATA, pte(mfn(DATA), P), 64 | 1)).toBe(-Errno.EFAULT);
	});
});

describe("update_va_mapping", () => {
	it("refuses addresses without an L1 table, and the hypervisor's", () => {
		const call = (va: number | bigint) => machine.call(guest, mmuHypercalls, "update_va_mapping", va, 0, 0);
		expect(call(0)).toBe(-Errno.EINVAL);
		expect(call(-(2 ** 47))).toBe(-Errno.EINVAL);
		expect(call(0x8000_0000_0000_0000n)).toBe(-Errno.EINVAL);
		expect(call(0x1234_0000_0000_0000n)).toBe(-Errno.EINVAL);
	});
});

describe("roots", () => {
	it("change with the counts of their tables, and reach the processor", () => {
		makeTable(33, { 511: pte(mfn(L3)) });
		expect(mmuext(MmuextCommand.newBaseptr, mfn(33))).toBe(0);
		expect(machine.processor.roots[0]).toBe(mfn(33));
		expect(mmuext(MmuextCommand.newUserBaseptr, mfn(L4))).toBe(0);
		expect(machine.processor.roots[1]).toBe(mfn(L4));
		expect(audit(machine)).toEqual([]);
		expect(mmuext(MmuextCommand.newUserBaseptr, 0)).toBe(0);
		expect(mmuext(MmuextCommand.newBaseptr, mfn(DATA))).toBe(-Errno.EINVAL);
		expect(guest.vcpu.kernelRoot).toBe(mfn(33));
		expect(audit(machine)).toEqual([]);
	});

	it("hide the M2P from programs where the guest wants it strictly", () => {
		expect(machine.call(guest, vmAssistHypercalls, "vm_assist", 0, 32)).toBe(0);
		makeTable(33);
		expect(mmuext(MmuextCommand.pinL4Table, mfn(33))).toBe(0);
		expect(machine.entry(mfn(33), 256)).not.toBe(0n);
		expect(mmuext(MmuextCommand.newUserBaseptr, mfn(33))).toBe(0);
		expect(machine.entry(mfn(33), 256)).toBe(0n);
	});
});

describe("pages", () => {
	it("are cleared and copied, where the guest can write them", () => {
		machine.put(guest, DATA, [1, 2, 3]);
		expect(mmuext(MmuextCommand.copyPage, mfn(DATA + 1), mfn(DATA))).toBe(0);
		expect(machine.entry(mfn(DATA + 1), 2)).toBe(3n);
		expect(mmuext(MmuextCommand.clearPage, mfn(DATA + 1))).toBe(0);
		expect(machine.entry(mfn(DATA + 1), 2)).toBe(0n);
		expect(mmuext(MmuextCommand.clearPage, mfn(L1))).toBe(-Errno.EINVAL);
		expect(mmuext(MmuextCommand.copyPage, mfn(DATA), machine.frames.machineToPhysical.firstFrame)).toBe(-Errno.EINVAL);
		expect(audit(machine)).toEqual([]);
	});

	it("have no superpages and no cache to flush", () => {
		expect(mmuext(MmuextCommand.markSuper, 512)).toBe(-Errno.EOPNOTSUPP);
		expect(mmuext(MmuextCommand.flushCache)).toBe(-Errno.EACCES);
		expect(mmuext(14)).toBe(-Errno.ENOSYS);
		expect(mmuext(99)).toBe(-Errno.ENOSYS);
	});
});

describe("stores to page tables", () => {
	const entryAddress = (slot: number) => KERNEL + L1 * 4096 + slot * 8;
	const store = (offset: number, length: number, value: number): boolean => {
		machine.memory.fill(STORE_BUFFER, 16, 0);
		machine.memory.setU64(STORE_BUFFER, value);
		return storeToTable(guest.vcpu, mfn(L1), offset, length, STORE_BUFFER);
	};
	beforeEach(() => {
		expect(machine.call(guest, vmAssistHypercalls, "vm_assist", 0, 2)).toBe(0);
	});

	it("are recognised by what the address maps", () => {
		expect(writtenTable(guest.vcpu, entryAddress(200), 7)).toBe(mfn(L1));
		expect(writtenTable(guest.vcpu, entryAddress(200), 6)).toBe(0);
		expect(writtenTable(guest.vcpu, KERNEL + L2 * 4096, 7)).toBe(0);
		expect(writtenTable(guest.vcpu, KERNEL + DATA * 4096, 7)).toBe(0);
	});

	it("change the entry under the same rules", () => {
		const value = pte(mfn(DATA), P);
		const low = Number(value & 0xffff_ffffn);
		expect(store(200 * 8, 8, low)).toBe(true);
		expect(machine.entry(mfn(L1), 200)).toBe(value | 4n | GUEST_KERNEL);
		expect(store(201 * 8, 8, Number(pte(mfn(L1))))).toBe(false);
		expect(store(200 * 8 + 1, 8, 0)).toBe(false);
		expect(store(200 * 8, 16, 0)).toBe(false);
		expect(machine.entry(mfn(L1), 200)).toBe(value | 4n | GUEST_KERNEL);
		// Nothing is changed by sixteen bytes of nothing.
		expect(store(202 * 8, 16, 0)).toBe(true);
		expect(audit(machine)).toEqual([]);
	});

	it("may be of parts", () => {
		expect(store(DATA * 8, 1, 0)).toBe(true);
		expect(machine.entry(mfn(L1), DATA) & 0xfffn).toBe(0n);
		expect(store(300 * 8 + 6, 2, 0x4321)).toBe(true);
		expect(machine.entry(mfn(L1), 300)).toBe(0x4321_0000_0000_0000n);
		expect(store(300 * 8 + 4, 4, 8)).toBe(true);
		expect(machine.entry(mfn(L1), 300)).toBe(8n << 32n);
		expect(audit(machine)).toEqual([]);
	});
});

describe("the end of a domain", () => {
	it("leaves no frame, no reference and no type", () => {
		const { free } = machine.frames;
		makeTable(33, { 5: pte(mfn(33), P) });
		expect(mmuext(MmuextCommand.pinL4Table, mfn(33))).toBe(0);
		expect(update([[machineAddress(33, 7), pte(mfn(L4), P)]])).toBe(0);
		relinquishDomain(guest.domain);
		expect(outstandingReferences(machine.frames, 1)).toEqual({ references: 0, types: 0 });
		expect(guest.domain.pages).toBe(0);
		expect(machine.frames.free).toBe(free + 64);
	});
});
