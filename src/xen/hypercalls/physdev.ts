/**
 * physdev_op as a domU without devices sees it: its virtual IOPL and I/O bitmap, interrupts that do not need an EOI, and the rest refused.
 */

import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import * as abi from "../abi/physdev.ts";
import type { Arguments, Hypercall } from "../hypercall.ts";
import { holdWritable, releaseWritable } from "../mm/shared-frames.ts";
import { addressOk, copyFromGuest, copyToGuest, readGuestU32, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

const { PhysdevOp } = abi;
/** nr_pirqs of a domU on a small machine; none of them is bound. */
const PIRQS = 256;
const PORTS = 65536;

function irqStatusQuery(vcpu: Vcpu, address: number): number {
	const { hypervisor } = vcpu.domain;
	if (!copyFromGuest(hypervisor, address, abi.irqStatusQuery.size)) return -Errno.EFAULT;
	const query = abi.irqStatusQuery.at(hypervisor.memory, SCRATCH);
	if (query.irq >= PIRQS) return -Errno.EINVAL;
	// Even where the guest has no such interrupt, Xen asks for an EOI of everything that it does not know.
	query.flags = abi.IRQ_STATUS_NEEDS_EOI;
	return copyToGuest(hypervisor, address, abi.irqStatusQuery.size) ? 0 : -Errno.EFAULT;
}

/** PHYSDEVOP_eoi: of a pirq that is not bound there is nothing to end. */
function eoi(vcpu: Vcpu, address: number): number {
	const irq = readGuestU32(vcpu.domain.hypervisor, address);
	if (irq < 0) return -Errno.EFAULT;
	return -Errno.EINVAL;
}

function setIopl(vcpu: Vcpu, address: number): number {
	const iopl = readGuestU32(vcpu.domain.hypervisor, address);
	if (iopl < 0) return -Errno.EFAULT;
	if (iopl > 3) return -Errno.EINVAL;
	vcpu.iopl = iopl << 12;
	return 0;
}

function setIobitmap(vcpu: Vcpu, address: number): number {
	const { hypervisor } = vcpu.domain;
	if (!copyFromGuest(hypervisor, address, abi.setIobitmap.size)) return -Errno.EFAULT;
	const { bitmap, nrPorts } = abi.setIobitmap.at(hypervisor.memory, SCRATCH);
	if (!addressOk(bitmap) || nrPorts > PORTS) return -Errno.EINVAL;
	vcpu.ioBitmap = bitmap;
	vcpu.ioBitmapPorts = nrPorts;
	return 0;
}

/** PHYSDEVOP_pirq_eoi_gmfn: a frame in which Xen marks the interrupts that need an EOI. None is bound, so none is ever marked. */
function pirqEoiMap(vcpu: Vcpu, address: number): number {
	const { domain } = vcpu;
	if (!copyFromGuest(domain.hypervisor, address, 8)) return -Errno.EFAULT;
	const frame = holdWritable(domain, domain.hypervisor.memory.u64(SCRATCH));
	if (frame < 0) return -Errno.EINVAL;
	if (domain.pirqEoiMap !== 0) {
		releaseWritable(domain, frame);
		return -Errno.EBUSY;
	}
	domain.pirqEoiMap = frame;
	return 0;
}

function physdevOp(vcpu: Vcpu, args: Arguments): number {
	const command = args.low(0);
	const address = args.signed(1);
	const { hypervisor } = vcpu.domain;
	switch (command) {
		case PhysdevOp.irqStatusQuery:
			return irqStatusQuery(vcpu, address);
		case PhysdevOp.eoi:
			return eoi(vcpu, address);
		case PhysdevOp.setIopl:
			return setIopl(vcpu, address);
		case PhysdevOp.setIobitmap:
			return setIobitmap(vcpu, address);
		case PhysdevOp.pirqEoiGmfnV1:
		case PhysdevOp.pirqEoiGmfnV2:
			return pirqEoiMap(vcpu, address);
		case PhysdevOp.irqUnmaskNotify:
			return eoiOfAll();
		default: {
			const refused = abi.refused[command];
			if (refused === undefined) return -Errno.ENOSYS;
			return copyFromGuest(hypervisor, address, refused.size) ? refused.result : -Errno.EFAULT;
		}
	}
}

/** struct physdev_op of before 3.2: the command, and behind it the structure. Only the oldest commands are in it. */
const UNION_OFFSET = 8;
function physdevOpCompat(vcpu: Vcpu, args: Arguments): number {
	const address = args.signed(0);
	const command = readGuestU32(vcpu.domain.hypervisor, address);
	if (command < 0) return -Errno.EFAULT;
	switch (command) {
		case PhysdevOp.irqUnmaskNotify:
			return eoiOfAll();
		case PhysdevOp.irqStatusQuery:
			return irqStatusQuery(vcpu, address + UNION_OFFSET);
		case PhysdevOp.setIopl:
			return setIopl(vcpu, address + UNION_OFFSET);
		case PhysdevOp.setIobitmap:
			return setIobitmap(vcpu, address + UNION_OFFSET);
		case PhysdevOp.apicRead:
		case PhysdevOp.apicWrite:
		case PhysdevOp.allocIrqVector:
			return -Errno.EPERM;
		default:
			return -Errno.EINVAL;
	}
}

/** PHYSDEVOP_IRQ_UNMASK_NOTIFY: an EOI of all the domain's interrupts, of which it has none. */
function eoiOfAll(): number {
	return 0;
}

export const physdevHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.physdev_op,
		name: "physdev_op",
		arguments: [
			{ name: "cmd", kind: "command", names: abi.physdevOpNames },
			{ name: "arg", kind: "pointer" },
		],
		handler: physdevOp,
	},
	{
		number: HypercallNumber.physdev_op_compat,
		name: "physdev_op_compat",
		arguments: [{ name: "op", kind: "pointer" }],
		handler: physdevOpCompat,
	},
];
