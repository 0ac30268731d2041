/** set_gdt and update_descriptor. MMUEXT_SET_LDT is in mmuext.ts, the rules in mm/descriptor-rules.ts. */

import { FIRST_RESERVED_GDT_ENTRY } from "../abi/arch.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import type { Arguments, Hypercall } from "../hypercall.ts";
import { checkDescriptor, checkedDescriptor } from "../mm/descriptor-rules.ts";
import { FrameType } from "../mm/frame-info.ts";
import { setGdt } from "../mm/gdt.ts";
import { getPageType, putPageType, putUnmappedWritable } from "../mm/page-types.ts";
import { ENTRIES } from "../mm/pte.ts";
import { copyFromGuest, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

const EINVAL = -Errno.EINVAL;

function setGdtCall(vcpu: Vcpu, args: Arguments): number {
	const { hypervisor } = vcpu.domain;
	const entries = args.low(1);
	if (entries > FIRST_RESERVED_GDT_ENTRY) return EINVAL;
	const pages = Math.ceil(entries / ENTRIES);
	if (pages > 0 && !copyFromGuest(hypervisor, args.signed(0), pages * 8)) return -Errno.EFAULT;
	const list = Array.from({ length: pages }, (_, page) => hypervisor.memory.u64(SCRATCH + page * 8));
	hypervisor.frames.startWork();
	return setGdt(vcpu, list, entries);
}

function updateDescriptor(vcpu: Vcpu, args: Arguments): number {
	const { frames } = vcpu.domain.hypervisor;
	const low = args.low(0);
	const mfn = args.high(0) * 0x10_0000 + (low >>> 12);
	if ((low & 7) !== 0 || !checkDescriptor(args.low(1), args.high(1))) return EINVAL;
	if (!frames.getPage(mfn, vcpu.domain.id)) return EINVAL;
	// Where the frame holds no descriptors now, it must be one that the guest could write itself.
	const descriptors = frames.type(mfn) === FrameType.segmentDescriptors;
	const result = getPageType(frames, mfn, descriptors ? FrameType.segmentDescriptors : FrameType.writable);
	if (result === 0) {
		const at = frames.entry(mfn, (low & 0xfff) >>> 3);
		frames.contentsChange(mfn);
		// The check of a whole page, above, used the same place: decide again what to write.
		checkDescriptor(args.low(1), args.high(1));
		frames.words[at] = checkedDescriptor.low;
		frames.words[at + 1] = checkedDescriptor.high;
		if (descriptors) putPageType(frames, mfn);
		else putUnmappedWritable(frames, mfn);
	}
	frames.putPage(mfn);
	return result === 0 ? 0 : EINVAL;
}

export const descriptorHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.set_gdt,
		name: "set_gdt",
		arguments: [
			{ name: "frame_list", kind: "pointer" },
			{ name: "entries", kind: "unsigned" },
		],
		handler: setGdtCall,
	},
	{
		number: HypercallNumber.update_descriptor,
		name: "update_descriptor",
		arguments: [
			{ name: "ma", kind: "hex" },
			{ name: "desc", kind: "hex" },
		],
		handler: updateDescriptor,
	},
];
