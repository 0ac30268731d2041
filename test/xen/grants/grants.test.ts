import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Errno } from "../../../src/xen/abi/errno.ts";
import { CopyFlag, GrantFlag, GrantStatus, MapFlag, GrantOp as Op } from "../../../src/xen/abi/grant-table.ts";
import { FrameType } from "../../../src/xen/mm/frame-info.ts";
import { ARGS, Call, createMachine, type Guest, HOLE, PAGES, page, TABLE } from "../guest-machine.ts";

const DOMID_SELF = 0x7ff0;
const FRAME_LIST = page(1);
const PRESENT = 1;
const WRITABLE = 2;

function grantOp(guest: Guest, command: number, count = 1, address = ARGS): number {
	return guest.call(Call.grantTable, command, address, count);
}
/** A signed status, `offset` bytes from ARGS. */
function status(guest: Guest, offset: number, address = ARGS): number {
	return (guest.memory.u16(guest.at(address) + offset) << 16) >> 16;
}
function grant(guest: Guest, ref: number, domid: number, mfn: number, flags: number = GrantFlag.permitAccess): void {
	const entry = guest.domain.grants.entry(ref);
	guest.memory.setU16(entry + 2, domid);
	if (guest.domain.grants.version === 1) guest.memory.setU32(entry + 4, mfn);
	else guest.memory.setU64(entry + 8, mfn);
	guest.memory.setU16(entry, flags);
}
/** GTF_reading and GTF_writing. */
function uses(guest: Guest, ref: number): number {
	return guest.memory.u16(guest.domain.grants.status(ref)) & (GrantFlag.reading | GrantFlag.writing);
}

interface Mapped {
	readonly status: number;
	readonly handle: number;
	readonly bus: number;
}
function map(guest: Guest, from: Guest | number, ref: number, address: number, flags: number): Mapped {
	const domid = typeof from === "number" ? from : from.domain.id;
	guest.put(ARGS, [0, 8, address], [8, 4, flags], [12, 4, ref], [16, 2, domid], [18, 2, 0], [20, 4, 0], [24, 8, 0]);
	expect(grantOp(guest, Op.mapGrantRef)).toBe(0);
	return { status: status(guest, 18), handle: guest.word(5), bus: guest.memory.u64(guest.at(ARGS) + 24) };
}
function unmap(guest: Guest, handle: number, address: number, bus = 0): number {
	guest.put(ARGS, [0, 8, address], [8, 8, bus], [16, 4, handle], [20, 2, 99]);
	expect(grantOp(guest, Op.unmapGrantRef)).toBe(0);
	return status(guest, 20);
}
type Side = { readonly grant: number; readonly domid: number } | number;
function copy(guest: Guest, source: Side, from: number, dest: Side, to: number, length: number): number {
	const flags =
		(typeof source === "number" ? 0 : CopyFlag.sourceGref) | (typeof dest === "number" ? 0 : CopyFlag.destGref);
	const put = (at: number, side: Side, offset: number): void => {
		const [value, domid] = typeof side === "number" ? [side, DOMID_SELF] : [side.grant, side.domid];
		guest.put(ARGS, [at, 8, value], [at + 8, 2, domid], [at + 10, 2, offset]);
	};
	put(0, source, from);
	put(16, dest, to);
	guest.put(ARGS, [32, 2, length], [34, 2, flags], [36, 2, 77]);
	expect(grantOp(guest, Op.copy)).toBe(0);
	return status(guest, 36);
}

describe("the table", () => {
	it("grows as the guest asks, to its limit, in frames that the guest may map", () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		guest.put(ARGS, [0, 2, DOMID_SELF]);
		expect(grantOp(guest, Op.querySize)).toBe(0);
		expect([guest.word(1), guest.word(2), status(guest, 12)]).toEqual([1, 64, 0]);
		const setup = (frames: number, list = FRAME_LIST): number => {
			guest.put(ARGS, [0, 2, DOMID_SELF], [4, 4, frames], [8, 2, 55], [16, 8, list]);
			return grantOp(guest, Op.setupTable);
		};
		expect(setup(3)).toBe(0);
		expect(status(guest, 8)).toBe(GrantStatus.okay);
		const mfns = [0, 1, 2].map((index) => guest.memory.u64(guest.at(FRAME_LIST) + index * 8));
		expect(mfns).toEqual(guest.domain.grants.frames);
		for (const mfn of mfns) expect(guest.hypervisor.frames.getWritable(mfn, guest.domain.id)).toBe(true);
		expect(setup(65)).toBe(0);
		expect(status(guest, 8)).toBe(GrantStatus.generalError);
		expect(setup(1, HOLE)).toBe(0);
		expect(status(guest, 8)).toBe(GrantStatus.badVirtAddr);
		expect(setup(1, -(2 ** 47))).toBe(-Errno.EFAULT);
		expect(grantOp(guest, Op.setupTable, 2)).toBe(-Errno.EINVAL);
		guest.put(ARGS, [0, 2, 555], [4, 4, 1], [16, 8, FRAME_LIST]);
		expect(grantOp(guest, Op.setupTable)).toBe(0);
		expect(status(guest, 8)).toBe(GrantStatus.badDomain);
		guest.put(ARGS, [0, 2, machine.addGuest().domain.id]);
		expect(grantOp(guest, Op.querySize)).toBe(0);
		expect(status(guest, 12)).toBe(GrantStatus.permissionDenied);
	});

	it("refuses what is no operation", () => {
		const guest = createMachine().addGuest();
		expect(grantOp(guest, Op.dumpTable)).toBe(-Errno.ENOSYS);
		expect(grantOp(guest, 13)).toBe(-Errno.ENOSYS);
		expect(grantOp(guest, 0x1000 + Op.copy)).toBe(-Errno.EINVAL);
		expect(grantOp(guest, Op.copy, 0x8000_0000)).toBe(-Errno.EINVAL);
		for (const command of [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]) {
			expect(grantOp(guest, command, 1, HOLE)).toBe(-Errno.EFAULT);
			expect(grantOp(guest, command, 1, -(2 ** 47))).toBe(-Errno.EFAULT);
		}
	});

	it("changes its version while nothing but reserved entries is in use", () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const { grants } = guest.domain;
		const setVersion = (version: number): number => {
			guest.put(ARGS, [0, 4, version]);
			return grantOp(guest, Op.setVersion);
		};
		grant(guest, 0, 7, 123);
		grant(guest, 9, 0, guest.mfns[3] as number);
		const mapping = grants.map(0, 9, true);
		expect(setVersion(3)).toBe(-Errno.EINVAL);
		expect(guest.word(0)).toBe(1);
		expect(setVersion(2)).toBe(-Errno.EBUSY);
		if (typeof mapping !== "number") mapping.unmap();
		expect(setVersion(2)).toBe(0);
		expect([guest.word(0), grants.entries, grants.statusFrames.length]).toEqual([2, 256, 1]);
		expect([guest.memory.u16(grants.entry(0)), guest.memory.u64(grants.entry(0) + 8)]).toEqual([1, 123]);
		expect(guest.memory.u16(grants.entry(9))).toBe(0);
		guest.put(ARGS, [0, 2, DOMID_SELF], [4, 4, 0]);
		expect(grantOp(guest, Op.getVersion)).toBe(0);
		expect(guest.word(1)).toBe(2);
		guest.put(ARGS, [0, 4, 1], [4, 2, DOMID_SELF], [8, 8, FRAME_LIST]);
		expect(grantOp(guest, Op.getStatusFrames)).toBe(0);
		expect(guest.memory.u64(guest.at(FRAME_LIST))).toBe(grants.statusFrames[0]);
		guest.put(ARGS, [0, 4, 2]);
		expect(grantOp(guest, Op.getStatusFrames)).toBe(0);
		expect(status(guest, 6)).toBe(GrantStatus.generalError);
		grant(guest, 1, 7, 2 ** 33);
		expect(setVersion(1)).toBe(-Errno.ERANGE);
		grant(guest, 1, 7, 5, 0);
		expect(setVersion(1)).toBe(0);
		expect([guest.memory.u16(grants.entry(0)), guest.memory.u32(grants.entry(0) + 4)]).toEqual([1, 123]);
	});

	it("swaps entries that are not in use", () => {
		const guest = createMachine().addGuest();
		grant(guest, 10, 3, 1000);
		grant(guest, 11, 4, 2000, GrantFlag.permitAccess | GrantFlag.readonly);
		guest.put(ARGS, [0, 4, 10], [4, 4, 11], [8, 2, 9]);
		expect(grantOp(guest, Op.swapGrantRef)).toBe(0);
		expect([status(guest, 8), guest.memory.u32(guest.domain.grants.entry(10) + 4)]).toEqual([0, 2000]);
		guest.put(ARGS, [4, 4, 512]);
		expect(grantOp(guest, Op.swapGrantRef)).toBe(0);
		expect(status(guest, 8)).toBe(GrantStatus.badGntref);
	});
});

describe("mapping", () => {
	it("gives another domain a frame, as long as it keeps it", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		const { frames } = machine.hypervisor;
		const mfn = a.mfns[5] as number;
		const before = [frames.references(mfn), frames.typeCount(mfn)];
		const replaced = b.mfns[7] as number;
		grant(a, 20, b.domain.id, mfn);
		const mapped = map(b, a, 20, page(7), MapFlag.hostMap);
		expect([mapped.status, mapped.bus]).toEqual([0, mfn * 4096]);
		expect(b.at(page(7))).toBe(a.at(page(5)));
		expect(b.entry(7) & (PRESENT | WRITABLE)).toBe(PRESENT | WRITABLE);
		expect(uses(a, 20)).toBe(GrantFlag.reading | GrantFlag.writing);
		expect([frames.references(mfn), frames.typeCount(mfn)]).toEqual([before[0]! + 1, before[1]! + 1]);
		// What was mapped there lost its reference.
		expect(frames.references(replaced)).toBe(1);
		expect(unmap(b, mapped.handle, page(6))).toBe(GrantStatus.generalError);
		expect(unmap(b, mapped.handle, page(7), 4096)).toBe(GrantStatus.generalError);
		expect(unmap(b, mapped.handle + 1, page(7))).toBe(GrantStatus.badHandle);
		expect(unmap(b, mapped.handle, page(7))).toBe(GrantStatus.okay);
		expect([b.entry(7), uses(a, 20)]).toEqual([0, 0]);
		expect([frames.references(mfn), frames.typeCount(mfn)]).toEqual(before);
		expect(unmap(b, mapped.handle, page(7))).toBe(GrantStatus.badHandle);
	});

	it("maps read-only without the right to write", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		grant(a, 8, b.domain.id, a.mfns[2] as number, GrantFlag.permitAccess | GrantFlag.readonly);
		expect(map(b, a, 8, page(7), MapFlag.hostMap).status).toBe(GrantStatus.generalError);
		expect(uses(a, 8)).toBe(0);
		const mapped = map(b, a, 8, page(7), MapFlag.hostMap | MapFlag.readonly);
		expect([mapped.status, b.entry(7) & WRITABLE, uses(a, 8)]).toEqual([0, 0, GrantFlag.reading]);
		const second = map(b, a, 8, page(8), MapFlag.hostMap | MapFlag.readonly);
		expect(unmap(b, mapped.handle, page(7))).toBe(0);
		expect(uses(a, 8)).toBe(GrantFlag.reading);
		expect(unmap(b, second.handle, page(8))).toBe(0);
		expect(uses(a, 8)).toBe(0);
	});

	it("maps a page table read-only at the most", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		grant(a, 8, b.domain.id, a.l1);
		expect(map(b, a, 8, page(7), MapFlag.hostMap).status).toBe(GrantStatus.generalError);
		expect(uses(a, 8)).toBe(0);
		expect(map(b, a, 8, page(7), MapFlag.hostMap | MapFlag.readonly).status).toBe(0);
	});

	it("takes the place by a page-table entry's machine address, for device and host", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		const { frames } = machine.hypervisor;
		grant(a, 8, b.domain.id, a.mfns[2] as number);
		const flags = MapFlag.hostMap | MapFlag.deviceMap | MapFlag.containsPte;
		const entry = b.l1 * 4096 + 9 * 8;
		expect(map(b, a, 8, entry + 4, flags).status).toBe(GrantStatus.generalError);
		expect(map(b, a, 8, b.mfns[3]! * 4096, flags).status).toBe(GrantStatus.generalError);
		expect(map(b, a, 8, a.l1 * 4096, flags).status).toBe(GrantStatus.generalError);
		expect(map(b, a, 8, 2 ** 50, flags).status).toBe(GrantStatus.generalError);
		const count = frames.references(a.mfns[2] as number);
		const mapped = map(b, a, 8, entry, flags);
		expect(mapped.status).toBe(0);
		expect(frames.references(a.mfns[2] as number)).toBe(count + 2);
		expect(unmap(b, mapped.handle, entry)).toBe(0);
		expect(frames.references(a.mfns[2] as number)).toBe(count + 1);
		expect(unmap(b, mapped.handle, 0, mapped.bus)).toBe(0);
		expect([frames.references(a.mfns[2] as number), uses(a, 8)]).toEqual([count, 0]);
	});

	it("puts another of the guest's mappings in the place of a grant's", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		grant(a, 8, b.domain.id, a.mfns[2] as number);
		const { handle } = map(b, a, 8, page(7), MapFlag.hostMap);
		b.put(ARGS, [0, 8, page(7)], [8, 8, page(9)], [16, 4, handle], [20, 2, 5]);
		expect(grantOp(b, Op.unmapAndReplace)).toBe(0);
		expect(status(b, 20)).toBe(0);
		expect([b.entry(9), b.at(page(7))]).toEqual([0, b.memory.frame(b.mfns[9] as number)]);
		expect(b.hypervisor.frames.references(b.mfns[9] as number)).toBe(2);
		expect(uses(a, 8)).toBe(0);
	});

	it("refuses bad references, domains, flags, addresses", () => {
		const machine = createMachine();
		const [a, b, c] = [machine.addGuest(), machine.addGuest(), machine.addGuest()];
		grant(a, 8, b.domain.id, a.mfns[2] as number);
		grant(a, 9, b.domain.id, 5000);
		grant(a, 10, b.domain.id, c.mfns[0] as number);
		grant(a, 11, b.domain.id, a.mfns[2] as number, GrantFlag.acceptTransfer);
		grant(a, 12, b.domain.id, a.mfns[2] as number, GrantFlag.permitAccess | GrantFlag.subPage);
		const at = (from: Guest | number, ref: number, flags: number = MapFlag.hostMap, address = page(7)): number =>
			map(b, from, ref, address, flags).status;
		expect(at(a, 512)).toBe(GrantStatus.badGntref);
		expect(at(a, 8, MapFlag.readonly)).toBe(GrantStatus.badGntref);
		expect(at(999, 8)).toBe(GrantStatus.badDomain);
		expect(at(DOMID_SELF, 8)).toBe(GrantStatus.badDomain);
		expect(map(c, a, 8, page(7), MapFlag.hostMap).status).toBe(GrantStatus.generalError);
		expect(at(a, 9)).toBe(GrantStatus.badPage);
		expect(at(a, 10)).toBe(GrantStatus.badPage);
		expect(at(a, 11)).toBe(GrantStatus.generalError);
		expect(at(a, 12)).toBe(GrantStatus.generalError);
		expect(at(a, 8, MapFlag.hostMap, -(2 ** 47))).toBe(GrantStatus.generalError);
		expect(at(a, 8, MapFlag.hostMap, 2 ** 40)).toBe(GrantStatus.generalError);
		for (let ref = 8; ref < 13; ref++) expect(uses(a, ref)).toBe(0);
		expect(b.entry(7) & ~0xfff).toBe(((b.mfns[7] as number) * 4096) | 0);
	});

	it("ends with the domain that mapped", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		grant(a, 8, b.domain.id, a.mfns[2] as number);
		const { frames } = machine.hypervisor;
		const count = frames.references(a.mfns[2] as number);
		map(b, a, 8, page(7), MapFlag.hostMap | MapFlag.deviceMap);
		b.domain.grants.mappings.destroy();
		expect(uses(a, 8)).toBe(0);
		// The entry in the page table still holds its own.
		expect(frames.references(a.mfns[2] as number)).toBe(count + 1);
	});
});

describe("use for a moment", () => {
	it("is as a mapping that ends at once", () => {
		const { hypervisor, addGuest } = createMachine();
		const [a, b] = [addGuest(), addGuest()];
		const { frames } = hypervisor;
		const { grants } = a.domain;
		const momentary = (mfn: number, readOnly: boolean, flags: number = GrantFlag.permitAccess): number => {
			grant(a, 8, b.domain.id, mfn, flags);
			return grants.momentary(8, b.domain.id, readOnly);
		};
		const mfn = a.mfns[4] as number;
		expect([momentary(mfn, false), momentary(mfn, true)]).toEqual([mfn, mfn]);
		expect(momentary(mfn, false, GrantFlag.permitAccess | GrantFlag.readonly)).toBe(-1);
		expect(momentary(b.mfns[4] as number, true)).toBe(-1);
		expect([momentary(a.l1, true), momentary(a.l1, false)]).toEqual([a.l1, -1]);
		expect(grants.momentary(8, 77, true)).toBe(-1);
		expect([grants.pin[8], uses(a, 8)]).toEqual([0, 0]);
		// What was a table and could be one again without being looked at is none any more once it may have been written.
		const free = a.mfns[5] as number;
		frames.putPageAndType(free);
		a.put(page(PAGES), [5 * 8, 8, 0]);
		a.memory.fill(a.memory.frame(free), 4096, 0);
		expect(frames.getPageType(free, FrameType.l1)).toBe(0);
		frames.putPageType(free);
		expect(frames.type(free)).toBe(FrameType.l1);
		expect(momentary(free, false)).toBe(free);
		expect(frames.type(free)).toBe(FrameType.writable);
	});
});

describe("copying", () => {
	it("moves bytes between own and granted frames", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		grant(a, 8, b.domain.id, a.mfns[2] as number);
		grant(a, 9, b.domain.id, a.mfns[3] as number, GrantFlag.permitAccess | GrantFlag.readonly);
		a.memory.fill(a.at(page(3)), 4096, 0x33);
		const from = { grant: 9, domid: a.domain.id };
		const to = { grant: 8, domid: a.domain.id };
		expect(copy(b, from, 100, b.mfns[6] as number, 10, 50)).toBe(0);
		expect([b.memory.u8(b.at(page(6)) + 9), b.memory.u8(b.at(page(6)) + 10), b.memory.u8(b.at(page(6)) + 60)]).toEqual([
			0, 0x33, 0,
		]);
		expect(copy(b, from, 0, to, 0, 4096)).toBe(0);
		expect(a.memory.u8(a.at(page(2)) + 4095)).toBe(0x33);
		expect([uses(a, 8), uses(a, 9)]).toEqual([0, 0]);
		expect(copy(b, from, 1, to, 0, 4096)).toBe(GrantStatus.badCopyArg);
		expect(copy(b, to, 0, from, 0, 4)).toBe(GrantStatus.generalError);
		expect(copy(b, a.mfns[0] as number, 0, b.mfns[6] as number, 0, 4)).toBe(GrantStatus.badPage);
		expect(copy(b, b.mfns[6] as number, 0, b.l1, 0, 4)).toBe(GrantStatus.generalError);
		expect(copy(b, { grant: 8, domid: 999 }, 0, b.mfns[6] as number, 0, 4)).toBe(GrantStatus.badDomain);
		expect(copy(b, { grant: 700, domid: a.domain.id }, 0, b.mfns[6] as number, 0, 4)).toBe(GrantStatus.badGntref);
		b.put(ARGS, [0, 8, 1], [8, 2, a.domain.id], [34, 2, 0]);
		expect(grantOp(b, Op.copy)).toBe(0);
		expect(status(b, 36)).toBe(GrantStatus.permissionDenied);
		expect([uses(a, 8), uses(a, 9)]).toEqual([0, 0]);
	});

	it("keeps to the part of a frame that is granted, and passes grants on once", () => {
		const machine = createMachine();
		const [a, b, c] = [machine.addGuest(), machine.addGuest(), machine.addGuest()];
		for (const guest of [a, b, c]) expect(guest.domain.grants.setVersion(2)).toBeUndefined();
		const mfn = a.mfns[2] as number;
		const count = machine.hypervisor.frames.references(mfn);
		a.memory.fill(a.at(page(2)), 4096, 0x44);
		grant(a, 8, b.domain.id, mfn, GrantFlag.permitAccess | GrantFlag.subPage);
		a.memory.setU16(a.domain.grants.entry(8) + 4, 100);
		a.memory.setU16(a.domain.grants.entry(8) + 6, 16);
		const to = b.mfns[6] as number;
		const from = { grant: 8, domid: a.domain.id };
		expect(copy(b, from, 100, to, 0, 16)).toBe(0);
		expect(copy(b, from, 99, to, 0, 16)).toBe(GrantStatus.generalError);
		expect(copy(b, from, 100, to, 0, 17)).toBe(GrantStatus.generalError);
		expect(map(b, a, 8, page(7), MapFlag.hostMap).status).toBe(GrantStatus.generalError);
		// b passes it on to c.
		const pass = (guest: Guest, ref: number, user: Guest, via: Guest | number, target: number): void => {
			const entry = guest.domain.grants.entry(ref);
			guest.memory.setU16(entry + 2, user.domain.id);
			guest.memory.setU16(entry + 4, typeof via === "number" ? via : via.domain.id);
			guest.memory.setU32(entry + 8, target);
			guest.memory.setU16(entry, GrantFlag.transitive);
		};
		pass(b, 9, c, a, 8);
		const passed = { grant: 9, domid: b.domain.id };
		expect(copy(c, passed, 104, c.mfns[6] as number, 4, 12)).toBe(0);
		expect(c.memory.u8(c.at(page(6)) + 4)).toBe(0x44);
		expect(copy(c, passed, 0, c.mfns[6] as number, 0, 4)).toBe(GrantStatus.generalError);
		expect(map(c, b, 9, page(7), MapFlag.hostMap).status).toBe(GrantStatus.generalError);
		expect([uses(a, 8), uses(b, 9)]).toEqual([0, 0]);
		pass(b, 10, c, b, 9);
		expect(copy(c, { grant: 10, domid: b.domain.id }, 0, c.mfns[6] as number, 0, 4)).toBe(GrantStatus.generalError);
		pass(a, 11, b, b, 12);
		pass(b, 12, a, a, 11);
		expect(copy(b, { grant: 11, domid: a.domain.id }, 0, to, 0, 4)).toBe(GrantStatus.generalError);
		pass(b, 13, c, 999, 1);
		expect(copy(c, { grant: 13, domid: b.domain.id }, 0, c.mfns[6] as number, 0, 4)).toBe(GrantStatus.generalError);
		for (const ref of [9, 10, 12, 13]) expect(uses(b, ref)).toBe(0);
		expect(machine.hypervisor.frames.references(mfn)).toBe(count);
	});
});

describe("transfer", () => {
	it("gives a frame away, for good", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		const { frames } = machine.hypervisor;
		const send = (mfn: number, domid: number, ref: number): number => {
			a.put(ARGS, [0, 8, mfn], [8, 2, domid], [12, 4, ref], [16, 2, 1]);
			expect(grantOp(a, Op.transfer)).toBe(0);
			return status(a, 16);
		};
		const loose = (): number => frames.allocate(a.domain.id) as number;
		expect(send(a.mfns[3] as number, b.domain.id, 8)).toBe(GrantStatus.badPage);
		expect(send(99_999, b.domain.id, 8)).toBe(GrantStatus.badPage);
		expect(send(loose(), 999, 8)).toBe(GrantStatus.badDomain);
		expect(send(loose(), b.domain.id, 8)).toBe(GrantStatus.generalError);
		grant(b, 8, a.domain.id, 77, GrantFlag.acceptTransfer);
		const mfn = loose();
		expect(send(mfn, b.domain.id, 8)).toBe(GrantStatus.okay);
		expect([frames.owner(mfn), frames.m2p(mfn)]).toEqual([b.domain.id, 77]);
		expect(b.memory.u16(b.domain.grants.entry(8))).toBe(
			GrantFlag.acceptTransfer | GrantFlag.transferCommitted | GrantFlag.transferCompleted,
		);
		expect(b.memory.u32(b.domain.grants.entry(8) + 4)).toBe(mfn);
		expect(send(loose(), b.domain.id, 8)).toBe(GrantStatus.generalError);
	});
});

describe("whatever guests do", () => {
	it("counts stay right, and nobody gets what was not granted", () => {
		const machine = createMachine({ frames: 1024 });
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		const { frames, memory } = machine.hypervisor;
		const base = a.mfns.map((mfn) => [frames.references(mfn), frames.typeCount(mfn)]);
		const step = fc.oneof(
			fc.record({
				kind: fc.constant("map" as const),
				ref: fc.integer({ min: 8, max: 13 }),
				slot: fc.integer({ min: 4, max: PAGES + 1 }),
				flags: fc.integer({ min: 0, max: 31 }),
			}),
			fc.record({
				kind: fc.constant("unmap" as const),
				handle: fc.integer({ min: 0, max: 6 }),
				slot: fc.integer({ min: 4, max: PAGES + 1 }),
				bus: fc.boolean(),
			}),
			fc.record({
				kind: fc.constant("entry" as const),
				ref: fc.integer({ min: 8, max: 13 }),
				flags: fc.integer({ min: 0, max: 0x1ff }),
				frame: fc.integer({ min: 0, max: PAGES + 3 }),
				domid: fc.integer({ min: 0, max: 3 }),
			}),
			fc.record({
				kind: fc.constant("copy" as const),
				ref: fc.integer({ min: 8, max: 13 }),
				write: fc.boolean(),
				offset: fc.integer({ min: 0, max: 5000 }),
			}),
			fc.record({ kind: fc.constant("clear" as const), slot: fc.integer({ min: 4, max: PAGES - 1 }) }),
			fc.record({
				kind: fc.constant("momentary" as const),
				ref: fc.integer({ min: 8, max: 13 }),
				readOnly: fc.boolean(),
			}),
		);
		fc.assert(
			fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
				const live: { handle: number; address: number; bus: number }[] = [];
				for (const action of steps) {
					switch (action.kind) {
						case "entry": {
							const mfn = [...a.mfns, a.l1, b.mfns[0] as number, 0, 5000][action.frame] as number;
							grant(a, action.ref, action.domid === 3 ? a.domain.id : b.domain.id, mfn, action.flags);
							break;
						}
						case "map": {
							const pte = (action.flags & MapFlag.containsPte) !== 0;
							const address = pte ? b.l1 * 4096 + action.slot * 8 : page(action.slot);
							const mapped = map(b, a, action.ref, address, action.flags);
							if (mapped.status === 0) live.push({ handle: mapped.handle, address, bus: mapped.bus });
							else expect(mapped.status).toBeLessThan(0);
							break;
						}
						case "unmap":
							unmap(b, action.handle, page(action.slot), action.bus ? 4096 * (a.mfns[2] as number) : 0);
							break;
						case "copy": {
							const granted = { grant: action.ref, domid: a.domain.id };
							const own = b.mfns[2] as number;
							copy(b, action.write ? own : granted, action.offset, action.write ? granted : own, 0, 8);
							break;
						}
						case "clear":
							break;
						case "momentary": {
							const { grants } = a.domain;
							const { ref, readOnly } = action;
							const pins = [...grants.pin];
							const mfn = grants.momentary(ref, b.domain.id, readOnly);
							// As a mapping would be: a table, or what has been one and is taken for valid still, is not to be written.
							const flags = MapFlag.hostMap | (readOnly ? MapFlag.readonly : 0);
							if (mfn >= 0 && !readOnly) expect(frames.type(mfn)).toBe(FrameType.writable);
							expect([...grants.pin]).toEqual(pins);
							const acquired = grants.acquire(ref, b.domain.id, flags) === GrantStatus.okay;
							expect(mfn).toBe(acquired ? grants.frame[ref] : -1);
							if (acquired) grants.release(ref, flags);
							break;
						}
					}
					// Every writable mapping in b's table is of a frame of type writable, its own or pinned by a grant for writing.
					for (let slot = 0; slot <= PAGES; slot++) {
						const entry = b.entry(slot);
						if ((entry & PRESENT) === 0) continue;
						const mfn = (entry >>> 12) | 0;
						if ((entry & WRITABLE) === 0) continue;
						expect(frames.type(mfn)).toBe(FrameType.writable);
						if (frames.owner(mfn) !== b.domain.id) expect(a.domain.grants.isUsedBy(b.domain.id, mfn)).toBe(true);
					}
				}
				for (const { handle, address, bus } of live) unmap(b, handle, address, bus);
				for (const { handle, bus } of live) unmap(b, handle, 0, bus);
				// What a device mapping or a lost address still holds goes with the handles.
				const left = b.mfns.length;
				for (let slot = 0; slot <= left; slot++) {
					for (let handle = 0; handle < 8; handle++) unmap(b, handle, page(slot));
				}
				for (let handle = 0; handle < 8; handle++)
					for (let slot = 0; slot < 20; slot++) unmap(b, handle, b.l1 * 4096 + slot * 8);
				for (let ref = 8; ref <= 13; ref++) expect(a.domain.grants.pin[ref]).toBe(0);
				expect(a.mfns.map((mfn) => [frames.references(mfn), frames.typeCount(mfn)])).toEqual(base);
				// b's own pages again, for the next run.
				b.mfns.forEach((mfn, slot) => {
					const at = memory.frame(b.l1) + slot * 8;
					if ((memory.u32(at) & PRESENT) !== 0 && memory.u32(at) >>> 12 === mfn) return;
					expect(frames.getWritable(mfn, b.domain.id)).toBe(true);
					memory.setU64(at, mfn * 4096 + 0x27);
				});
				expect(b.entry(PAGES) >>> 12).toBe(b.l1);
			}),
			{ numRuns: 40 },
		);
		expect(TABLE).toBe(page(PAGES));
	});
});
