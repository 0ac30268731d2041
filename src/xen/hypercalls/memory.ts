/** memory_op: a domain's reservation of frames, its memory map, and where the M2P is. */

import { PAGE_SHIFT, PAGE_SIZE } from "../../memory/map.ts";
import { MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START } from "../abi/arch.ts";
import { DOMID_SELF } from "../abi/domid.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import * as abi from "../abi/memory.ts";
import { MEMORY_COMMAND_MASK, MEMORY_EXTENT_SHIFT, MemoryCommand, MemoryFlag } from "../abi/memory.ts";
import { archSharedInfo, sharedInfo } from "../abi/shared-info.ts";
import type { Domain } from "../domain.ts";
import { type Arguments, type Hypercall, type HypercallResult, PREEMPTED } from "../hypercall.ts";
import {
	decreaseReservation,
	type Extents,
	exchangeExtents,
	increaseReservation,
	MAXIMUM_ORDER,
	populatePhysmap,
	readExchange,
} from "../mm/reservation.ts";
import { addressOk, copyFromGuest, copyToGuest, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

const EFAULT = -Errno.EFAULT;
const EINVAL = -Errno.EINVAL;
/** Extents whose number fits the command word with which a preempted call comes back. */
const MAXIMUM_EXTENTS = 2 ** (32 - MEMORY_EXTENT_SHIFT) - 1;
/** Frames of the M2P that an entry of XENMEM_machphys_mfn_list stands for. */
const M2P_EXTENT = 512;

/** Result 0 for the caller's own domain, by number or DOMID_SELF; the error for any other. */
function own(domain: Domain, domid: number): number {
	if (domid === DOMID_SELF || domid === domain.id) return 0;
	return domain.hypervisor.domains.has(domid) ? -Errno.EPERM : -Errno.ESRCH;
}

/** Copies an argument structure to SCRATCH. */
function fetch(domain: Domain, address: number, size: number): boolean {
	return copyFromGuest(domain.hypervisor, address, size);
}

type Handler = (domain: Domain, address: number, args: Arguments) => HypercallResult;

/** The calls that take extents answer with how many are done, whatever went wrong. */
function reservation(work: (domain: Domain, extents: Extents) => boolean): Handler {
	return (domain, address, args) => {
		const { memory } = domain.hypervisor;
		const start = Math.floor(args.unsigned(0) / 2 ** MEMORY_EXTENT_SHIFT);
		if (!fetch(domain, address, abi.memoryReservation.size)) return start;
		const view = abi.memoryReservation.at(memory, SCRATCH);
		const { extentStart, nrExtents, extentOrder, memFlags, domid } = view;
		const limit = addressLimit(memFlags);
		if (nrExtents > MAXIMUM_EXTENTS || start >= nrExtents || own(domain, domid) !== 0) return start;
		if (limit === undefined || (memFlags & (MemoryFlag.exactNodeRequest | MemoryFlag.vnode)) !== 0) return start;
		if (work === populatePhysmap && (memFlags & MemoryFlag.populateOnDemand) !== 0) return start;
		if (extentOrder > MAXIMUM_ORDER) return start;
		if (!listOk(extentStart, nrExtents)) return start;
		const extents: Extents = { list: extentStart, count: nrExtents, order: extentOrder, limit, done: start };
		if (!work(domain, extents)) return extents.done;
		args.setNumber(0, extents.done * 2 ** MEMORY_EXTENT_SHIFT + (args.low(0) & MEMORY_COMMAND_MASK));
		return PREEMPTED;
	};
}

function listOk(list: number, count: number): boolean {
	return addressOk(list) && addressOk(list + count * 8 - 1);
}

/** The first frame beyond those that XENMEMF_address_bits allows; undefined where it allows none. */
function addressLimit(memFlags: number): number | undefined {
	const bits = memFlags & MemoryFlag.addressBits;
	if (bits === 0) return Number.POSITIVE_INFINITY;
	return bits <= PAGE_SHIFT ? undefined : 2 ** (bits - PAGE_SHIFT);
}

function exchange(domain: Domain, address: number, args: Arguments): HypercallResult {
	const { hypervisor } = domain;
	const { memory } = hypervisor;
	if (args.unsigned(0) !== MemoryCommand.exchange) return EINVAL;
	if (!fetch(domain, address, abi.memoryExchange.size)) return EFAULT;
	const { offset } = abi.memoryExchange;
	const outCount = memory.u64(SCRATCH + offset.out + abi.memoryReservation.offset.nrExtents);
	const inDomid = memory.u16(SCRATCH + offset.in + abi.memoryReservation.offset.domid);
	const outDomid = memory.u16(SCRATCH + offset.out + abi.memoryReservation.offset.domid);
	const flags = memory.u32(SCRATCH + offset.out + abi.memoryReservation.offset.memFlags);
	const limit = addressLimit(flags);
	const request = readExchange(domain, SCRATCH, limit ?? 0);
	const finish = (result: number): number => {
		memory.setU64(SCRATCH, request.exchanged);
		return copyToGuest(hypervisor, address + offset.nrExchanged, 8) ? result : EFAULT;
	};
	if (Math.max(request.inOrder, request.outOrder) > MAXIMUM_ORDER) return finish(-Errno.EPERM);
	if (
		request.exchanged > request.inCount ||
		inDomid !== outDomid ||
		// More than a number of 64 bits can say. What is less, but more than any memory, fails at its list.
		request.inCount * 2 ** request.inOrder >= 2 ** 64 ||
		request.inCount * 2 ** request.inOrder !== outCount * 2 ** request.outOrder ||
		(flags & MemoryFlag.exactNodeRequest) !== 0
	) {
		return finish(EINVAL);
	}
	if (!listOk(request.inList, request.inCount) || !listOk(request.outList, outCount)) return finish(EFAULT);
	// Nothing to do is nothing to ask whose it is for.
	if (request.exchanged === request.inCount) return 0;
	const refused = own(domain, inDomid);
	if (refused !== 0) return finish(refused);
	const result = exchangeExtents(domain, request);
	const finished = finish(result ?? 0);
	return result === undefined && finished === 0 ? PREEMPTED : finished;
}

/** Calls whose argument is a domain id, and that answer with a number about it. */
function about(answer: (domain: Domain) => number): Handler {
	return (domain, address) => {
		if (!fetch(domain, address, 2)) return EFAULT;
		const refused = own(domain, domain.hypervisor.memory.u16(SCRATCH));
		return refused === 0 ? answer(domain) : refused;
	};
}

/** A guest says in shared_info how many frames it has in its own numbering. */
function maximumGpfn(domain: Domain): number {
	const address = domain.sharedInfo + sharedInfo.offset.arch + archSharedInfo.offset.maxPfn;
	return (domain.hypervisor.memory.u64(address) || 1) - 1;
}

/**
 * Gives a domain the memory map that libxl gives a PV guest: one range of RAM from 0.
 * Where the builder has not, its first look at the map does, with all that it may own.
 * @param bytes the most memory that it may have (maxmem)
 */
export function setMemoryMapLimit(domain: Domain, bytes: number): void {
	const map = new Uint8Array(abi.E820_ENTRY_SIZE);
	const view = new DataView(map.buffer);
	view.setUint32(abi.e820Entry.offset.size, bytes % 2 ** 32, true);
	view.setUint32(abi.e820Entry.offset.size + 4, Math.floor(bytes / 2 ** 32), true);
	view.setUint32(abi.e820Entry.offset.type, abi.E820_RAM, true);
	domain.memoryMap = map;
}

function getMemoryMap(domain: Domain, address: number): number {
	const { hypervisor } = domain;
	if (domain.memoryMap === undefined) setMemoryMapLimit(domain, domain.maximumPages * PAGE_SIZE);
	if (!fetch(domain, address, abi.memoryMap.size)) return EFAULT;
	const view = abi.memoryMap.at(hypervisor.memory, SCRATCH);
	const map = domain.memoryMap as Uint8Array;
	const entries = Math.min(view.nrEntries, map.length / abi.E820_ENTRY_SIZE);
	if (!addressOk(view.buffer)) return EFAULT;
	if (!hypervisor.guestMemory.write(view.buffer, map, entries * abi.E820_ENTRY_SIZE)) return EFAULT;
	view.nrEntries = entries;
	return copyToGuest(hypervisor, address, abi.memoryMap.size) ? 0 : EFAULT;
}

function setMemoryMap(domain: Domain, address: number): number {
	const { hypervisor } = domain;
	if (!fetch(domain, address, abi.foreignMemoryMap.size)) return EFAULT;
	const view = abi.foreignMemoryMap.at(hypervisor.memory, SCRATCH);
	const { nrEntries, buffer } = view.map;
	if (nrEntries > abi.E820_MAX) return EINVAL;
	const refused = own(domain, view.domid);
	if (refused !== 0) return refused;
	const map = new Uint8Array(nrEntries * abi.E820_ENTRY_SIZE);
	if (!addressOk(buffer) || !hypervisor.guestMemory.read(buffer, map)) return EFAULT;
	domain.memoryMap = map;
	return 0;
}

function machphysList(domain: Domain, address: number): number {
	const { hypervisor } = domain;
	const { memory, frames } = hypervisor;
	if (!fetch(domain, address, abi.machphysMfnList.size)) return EFAULT;
	const { maxExtents, extentStart } = abi.machphysMfnList.at(memory, SCRATCH);
	const { firstFrame, frameCount } = frames.machineToPhysical;
	const count = Math.min(maxExtents, Math.ceil(frameCount / M2P_EXTENT));
	for (let index = 0; index < count; index++) {
		memory.setU64(SCRATCH, firstFrame + index * M2P_EXTENT);
		if (!copyToGuest(hypervisor, extentStart + index * 8, 8)) return EFAULT;
	}
	memory.setU32(SCRATCH, count);
	return copyToGuest(hypervisor, address + abi.machphysMfnList.offset.nrExtents, 4) ? 0 : EFAULT;
}

function machphysMapping(domain: Domain, address: number): number {
	const { hypervisor } = domain;
	const view = abi.machphysMapping.at(hypervisor.memory, SCRATCH);
	view.vStart = MACH2PHYS_VIRT_START;
	view.vEnd = MACH2PHYS_VIRT_END;
	// The whole range, as an unprivileged domain is told; what is beyond the machine's frames is not mapped.
	view.maxMfn = (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) / 8 - 1;
	return copyToGuest(hypervisor, address, abi.machphysMapping.size) ? 0 : EFAULT;
}

/** Calls that need a physmap of the hypervisor's, which PV guests do not have: the argument is looked at, then refused. */
function needsPhysmap(size: number): Handler {
	return (domain, address) => {
		if (!fetch(domain, address, size)) return EFAULT;
		return own(domain, domain.hypervisor.memory.u16(SCRATCH)) || -Errno.EACCES;
	};
}

function addToPhysmap(domain: Domain, address: number): HypercallResult {
	if (!fetch(domain, address, abi.addToPhysmap.size)) return EFAULT;
	const { space, domid } = abi.addToPhysmap.at(domain.hypervisor.memory, SCRATCH);
	if (space === abi.mapSpaceForeign) return -Errno.ENOSYS;
	return own(domain, domid) || -Errno.EACCES;
}

function claimPages(domain: Domain, address: number): number {
	if (!fetch(domain, address, abi.memoryReservation.size)) return EFAULT;
	const view = abi.memoryReservation.at(domain.hypervisor.memory, SCRATCH);
	if (view.extentStart !== 0 || view.extentOrder !== 0 || view.memFlags !== 0) return EINVAL;
	return domain.hypervisor.domains.has(view.domid) ? -Errno.EPERM : EINVAL;
}

/** XENMEM_get_vnumainfo: no domain has a virtual NUMA topology. */
function virtualTopology(domain: Domain, address: number): number {
	const { memory } = domain.hypervisor;
	if (!fetch(domain, address, abi.VNUMA_TOPOLOGY_SIZE)) return EFAULT;
	// The padding behind the domain's id must be 0.
	if (memory.u16(SCRATCH + 2) !== 0) return EINVAL;
	return own(domain, memory.u16(SCRATCH)) || -Errno.EOPNOTSUPP;
}

/** XENMEM_set_pod_target and get_pod_target are of HVM guests, whoever asks. */
function podTarget(domain: Domain, address: number): number {
	const { memory, domains } = domain.hypervisor;
	if (!fetch(domain, address, abi.POD_TARGET_SIZE)) return EFAULT;
	const id = memory.u16(SCRATCH + 32);
	return id === DOMID_SELF || domains.has(id) ? EINVAL : -Errno.ESRCH;
}

/** XENMEM_access_op is for a domain that watches another. */
function accessOperation(domain: Domain, address: number): number {
	if (!fetch(domain, address, abi.ACCESS_OPERATION_SIZE)) return EFAULT;
	const { memory, domains } = domain.hypervisor;
	// struct xen_mem_access_op: op, access, domid. DOMID_SELF is not looked up: it is no domain's id.
	const id = memory.u16(SCRATCH + 2);
	if (id === domain.id) return -Errno.EPERM;
	// The services' domain is no HVM guest.
	return domains.has(id) ? EINVAL : -Errno.ESRCH;
}

/** XENMEM_acquire_resource: of another domain's, for the one that serves it. */
function acquireResource(domain: Domain, address: number): number {
	const { memory } = domain.hypervisor;
	if (!fetch(domain, address, abi.ACQUIRE_RESOURCE_SIZE)) return EFAULT;
	// domid, type, id, nr_frames, and the padding that must be 0.
	if (memory.u32(SCRATCH + 12) !== 0) return EINVAL;
	const id = memory.u16(SCRATCH);
	return domain.hypervisor.domains.has(id) ? -Errno.EPERM : -Errno.ESRCH;
}

/** XENMEM_reserved_device_memory_map: without devices, nothing is reserved for them. */
function reservedDeviceMemoryMap(domain: Domain, address: number): number {
	const { hypervisor } = domain;
	if (!fetch(domain, address, abi.reservedDeviceMemoryMap.size)) return EFAULT;
	const view = abi.reservedDeviceMemoryMap.at(hypervisor.memory, SCRATCH);
	// XENMEM_RDM_ALL is all the flags there are.
	if (view.flags > 1) return EINVAL;
	if (!listOk(view.buffer, view.nrEntries * 2)) return EFAULT;
	view.nrEntries = 0;
	return copyToGuest(hypervisor, address, abi.reservedDeviceMemoryMap.size) ? 0 : EFAULT;
}

const refuse: Handler = () => -Errno.EPERM;

const handlers: Readonly<Record<number, Handler>> = {
	[MemoryCommand.increaseReservation]: reservation(increaseReservation),
	[MemoryCommand.decreaseReservation]: reservation(decreaseReservation),
	[MemoryCommand.populatePhysmap]: reservation(populatePhysmap),
	[MemoryCommand.exchange]: exchange,
	[MemoryCommand.maximumRamPage]: (domain) => domain.hypervisor.frames.frames,
	[MemoryCommand.currentReservation]: about((domain) => domain.pages),
	[MemoryCommand.maximumReservation]: about((domain) => domain.maximumPages),
	[MemoryCommand.maximumGpfn]: about(maximumGpfn),
	[MemoryCommand.machphysMfnList]: machphysList,
	[MemoryCommand.machphysMapping]: machphysMapping,
	[MemoryCommand.memoryMap]: getMemoryMap,
	[MemoryCommand.setMemoryMap]: setMemoryMap,
	[MemoryCommand.machineMemoryMap]: refuse,
	[MemoryCommand.addToPhysmap]: addToPhysmap,
	[MemoryCommand.addToPhysmapBatch]: needsPhysmap(abi.addToPhysmapBatch.size),
	[MemoryCommand.removeFromPhysmap]: needsPhysmap(abi.removeFromPhysmap.size),
	[MemoryCommand.setPodTarget]: podTarget,
	[MemoryCommand.getPodTarget]: podTarget,
	[MemoryCommand.claimPages]: claimPages,
	[MemoryCommand.getVnumainfo]: virtualTopology,
	[MemoryCommand.accessOp]: accessOperation,
	// Nothing is shared, and no frame is saved by it.
	[MemoryCommand.getSharingFreedPages]: () => 0,
	[MemoryCommand.getSharingSharedPages]: () => 0,
	[MemoryCommand.machphysCompatMfnList]: () => -Errno.EOPNOTSUPP,
	[MemoryCommand.acquireResource]: acquireResource,
	[MemoryCommand.reservedDeviceMemoryMap]: reservedDeviceMemoryMap,
};

function memoryOp(vcpu: Vcpu, args: Arguments): HypercallResult {
	const handler = handlers[args.low(0) & MEMORY_COMMAND_MASK];
	vcpu.domain.hypervisor.frames.startWork();
	return handler === undefined ? -Errno.ENOSYS : handler(vcpu.domain, args.signed(1), args);
}

export const memoryHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.memory_op,
		name: "memory_op",
		arguments: [
			{
				name: "cmd",
				kind: "command",
				names: Object.fromEntries(Object.entries(MemoryCommand).map(([name, value]) => [value, name])),
			},
			{ name: "arg", kind: "pointer" },
		],
		handler: memoryOp,
	},
];
