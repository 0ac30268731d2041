import { beforeEach, describe, expect, it } from "vitest";
import { DOMID_SELF } from "../../../src/xen/abi/domid.ts";
import { Errno } from "../../../src/xen/abi/errno.ts";
import { MmuextCommand } from "../../../src/xen/abi/mmu.ts";
import { descriptorHypercalls } from "../../../src/xen/hypercalls/descriptors.ts";
import { mmuHypercalls } from "../../../src/xen/hypercalls/mmu.ts";
import { vmAssistHypercalls } from "../../../src/xen/hypercalls/vm-assist.ts";
import { checkDescriptor, checkedDescriptor } from "../../../src/xen/mm/descriptor-rules.ts";
import { FrameType } from "../../../src/xen/mm/frame-info.ts";
import { readDescriptor } from "../../../src/xen/mm/gdt.ts";
import { relinquishDomain } from "../../../src/xen/mm/relinquish.ts";
import { audit } from "./audit.ts";
import { type Guest, KERNEL, Machine, P, pte, RW } from "./machine.ts";

let machine: Machine;
let guest: Guest;
beforeEach(() => {
	machine = new Machine();
	guest = machine.guest(1, 64);
});
const mfn = (pfn: number) => guest.mfns[pfn]!;
const map = (pfn: number, flags: number) =>
	machine.call(guest, mmuHypercalls, "update_va_mapping", KERNEL + pfn * 4096, pte(mfn(pfn), flags), 0);
const look = (selector: number) => {
	const to = { low: 0, high: 0 };
	return readDescriptor(guest.vcpu, selector, to) ? (BigInt(to.high) << 32n) | BigInt(to.low) : undefined;
};
const setGdt = (frames: number[], entries: number) =>
	machine.call(guest, descriptorHypercalls, "set_gdt", machine.put(guest, 60, frames), entries);

const KERNEL_CODE = 0x00af_9b00_0000_ffffn;
const KERNEL_CODE_RING3 = 0x00af_fb00_0000_ffffn;

describe("a descriptor", () => {
	const checked = (value: bigint) =>
		checkDescriptor(Number(value & 0xffff_ffffn), Number(value >> 32n))
			? (BigInt(checkedDescriptor.high) << 32n) | BigInt(checkedDescriptor.low)
			: undefined;

	it.each([
		["absent is not looked at", 0x0000_0900_0000_0000n, 0x0000_0900_0000_0000n],
		["code of ring 0 becomes ring 3's", KERNEL_CODE, KERNEL_CODE_RING3],
		["data of ring 1 becomes ring 3's", 0x00cf_b300_0000_ffffn, 0x00cf_f300_0000_ffffn],
		["a TSS is refused", 0x0000_8900_0000_0067n, undefined],
		["an LDT is refused", 0x0000_8200_0000_ffffn, undefined],
		["an interrupt gate is refused", 0x0000_8e00_e033_0000n, undefined],
		["a call gate loses its DPL to the selector", 0x1234_ec00_e033_5678n, 0x1234_8c00_e033_5678n],
		["a call gate with parameters is refused", 0x1234_ec01_e033_5678n, undefined],
		["a call gate into Xen's code is refused", 0x1234_ec00_e008_5678n, undefined],
	])("%s", (_name, value, result) => {
		expect(checked(value)).toBe(result);
	});
});

describe("set_gdt", () => {
	it("takes pages that the guest cannot write, and answers for its and Xen's descriptors", () => {
		machine.poke(mfn(20), 2, KERNEL_CODE);
		expect(setGdt([mfn(20)], 512)).toBe(-Errno.EINVAL);
		expect(map(20, P)).toBe(0);
		expect(setGdt([mfn(20)], 512)).toBe(0);
		expect(machine.frames.isValid(mfn(20), FrameType.segmentDescriptors)).toBe(true);
		expect(look(0x10)).toBe(KERNEL_CODE_RING3);
		expect(look(0xe033)).toBe(KERNEL_CODE_RING3);
		expect(look(0xe02b)).toBe(0x00cf_f300_0000_ffffn);
		expect(look(0x1008)).toBe(0n);
		expect(map(20, P | RW)).toBe(-Errno.EBUSY);
		expect(audit(machine)).toEqual([]);
		expect(setGdt([], 0)).toBe(0);
		expect(map(20, P | RW)).toBe(0);
		expect(audit(machine)).toEqual([]);
	});

	it("refuses bad descriptors, frames and sizes, and then keeps the old one", () => {
		expect(map(20, P)).toBe(0);
		expect(setGdt([mfn(20)], 16)).toBe(0);
		machine.poke(mfn(21), 2, 0x0000_8900_0000_0067n);
		expect(map(21, P)).toBe(0);
		expect(setGdt([mfn(20), mfn(21)], 1024)).toBe(-Errno.EINVAL);
		expect(setGdt([5000], 16)).toBe(-Errno.EINVAL);
		expect(setGdt([mfn(20)], 7169)).toBe(-Errno.EINVAL);
		expect(machine.call(guest, descriptorHypercalls, "set_gdt", 64, 16)).toBe(-Errno.EFAULT);
		expect([...guest.vcpu.gdtFrames].filter((frame) => frame !== 0)).toEqual([mfn(20)]);
		expect(audit(machine)).toEqual([]);
	});
});

describe("update_descriptor", () => {
	const update = (address: bigint, value: bigint) =>
		machine.call(guest, descriptorHypercalls, "update_descriptor", address, value);

	it("writes a checked descriptor to a page of descriptors or of memory", () => {
		expect(map(20, P)).toBe(0);
		expect(setGdt([mfn(20)], 16)).toBe(0);
		expect(update(BigInt(mfn(20)) * 4096n + 8n, KERNEL_CODE)).toBe(0);
		expect(look(8)).toBe(KERNEL_CODE_RING3);
		expect(update(BigInt(mfn(21)) * 4096n + 8n, KERNEL_CODE)).toBe(0);
		expect(machine.entry(mfn(21), 1)).toBe(KERNEL_CODE_RING3);
		expect(audit(machine)).toEqual([]);
	});

	it("refuses page tables, other frames and bad descriptors", () => {
		expect(update(BigInt(mfn(3)) * 4096n, 0n)).toBe(-Errno.EINVAL);
		expect(update(4096n, 0n)).toBe(-Errno.EINVAL);
		expect(update(BigInt(mfn(21)) * 4096n + 4n, 0n)).toBe(-Errno.EINVAL);
		expect(update(BigInt(mfn(21)) * 4096n, 0x0000_8900_0000_0067n)).toBe(-Errno.EINVAL);
		expect(audit(machine)).toEqual([]);
	});
});

describe("the LDT", () => {
	const setLdt = (address: number, entries: number) =>
		machine.call(
			guest,
			mmuHypercalls,
			"mmuext_op",
			machine.put(guest, 61, [MmuextCommand.setLdt, address, entries]),
			1,
			0,
			DOMID_SELF,
		);

	it("is found by its address, page by page, and held while it is used", () => {
		machine.poke(mfn(21), 0, KERNEL_CODE);
		expect(map(20, P)).toBe(0);
		expect(map(21, P)).toBe(0);
		expect(setLdt(KERNEL + 20 * 4096, 600)).toBe(0);
		expect(look(512 * 8 + 4)).toBe(KERNEL_CODE_RING3);
		expect(machine.frames.typeCount(mfn(21))).toBe(1);
		expect(look(600 * 8 + 4)).toBeUndefined();
		expect(audit(machine)).toEqual([]);
		// Its mapping goes, and with it what was held.
		expect(machine.call(guest, mmuHypercalls, "update_va_mapping", KERNEL + 21 * 4096, 0, 0)).toBe(0);
		expect(machine.frames.typeCount(mfn(21))).toBe(0);
		expect(look(512 * 8 + 4)).toBeUndefined();
		expect(audit(machine)).toEqual([]);
	});

	it("cannot be memory that the guest writes, or too large, or unaligned", () => {
		expect(setLdt(KERNEL + 22 * 4096, 10)).toBe(0);
		expect(look(12)).toBeUndefined();
		expect(setLdt(KERNEL + 22 * 4096 + 8, 10)).toBe(-Errno.EINVAL);
		expect(setLdt(KERNEL + 22 * 4096, 8193)).toBe(-Errno.EINVAL);
		expect(setLdt(-(2 ** 47), 10)).toBe(-Errno.EINVAL);
		expect(setLdt(8, 0)).toBe(0);
	});

	it("and the GDT leave nothing behind", () => {
		expect(map(20, P)).toBe(0);
		expect(setGdt([mfn(20)], 16)).toBe(0);
		expect(setLdt(KERNEL + 20 * 4096, 10)).toBe(0);
		look(12);
		relinquishDomain(guest.domain);
		expect(guest.domain.pages).toBe(0);
	});
});

describe("vm_assist", () => {
	const assist = (command: number, type: number) => machine.call(guest, vmAssistHypercalls, "vm_assist", command, type);
	it("keeps what Xen knows of", () => {
		expect(assist(0, 32)).toBe(0);
		expect(assist(0, 32)).toBe(0);
		expect(assist(0, 2)).toBe(0);
		expect(guest.domain.vmAssist).toBe(2 ** 32 + 4);
		expect(assist(1, 32)).toBe(0);
		expect(guest.domain.vmAssist).toBe(4);
		expect(assist(0, 6)).toBe(-Errno.EINVAL);
		expect(assist(0, 64)).toBe(-Errno.EINVAL);
		expect(assist(2, 2)).toBe(-Errno.ENOSYS);
	});
});
