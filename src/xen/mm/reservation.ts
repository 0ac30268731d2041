/**
 * A domain's reservation: frames that it takes from and gives back to the machine (increase_reservation, populate_physmap,
 * decrease_reservation), and exchanges for others (XENMEM_exchange).
 */
import { Errno } from "../abi/errno.ts";
import { memoryExchange, memoryReservation } from "../abi/memory.ts";
import type { Domain } from "../domain.ts";
import { copyFromGuest, copyToGuest, SCRATCH } from "../scratch.ts";
import type { FrameTable } from "./frames.ts";

/** CONFIG_DOMU_MAX_ORDER: the largest extent, as a power of two, that an unprivileged domain may ask for. */
export const MAXIMUM_ORDER = 9;
/** Work of a frame that is given out: most of it is zeroing. */
const FRAME_WORK = 256;

/** What a reservation call works on, copied from the guest; `done` counts its extents. */
export interface Extents {
	readonly list: number;
	readonly count: number;
	readonly order: number;
	/** Frames from here on are not wanted (XENMEMF_address_bits). */
	readonly limit: number;
	done: number;
}

function readFrame(domain: Domain, list: number, index: number): number | undefined {
	const { hypervisor } = domain;
	return copyFromGuest(hypervisor, list + index * 8, 8) ? hypervisor.memory.u64(SCRATCH) : undefined;
}

function writeFrame(domain: Domain, list: number, index: number, mfn: number): boolean {
	const { hypervisor } = domain;
	hypervisor.memory.setU64(SCRATCH, mfn);
	return copyToGuest(hypervisor, list + index * 8, 8);
}

/**
 * How many frames that the host has no memory for yet an extent may have. A single frame is such a one only if no other is free; but free frames
 * that do not lie side by side serve no extent, and a guest that gives all but one of each extent back would have the host touch all of its
 * memory. So all domains together may make it touch what they may have at the most, and an extent of the largest order for each.
 */
function untouchedAllowance({ hypervisor: { domains, frames } }: Domain): number {
	let allowance = -frames.touched;
	for (const { id, maximumPages } of domains.values()) {
		allowance += Math.max(maximumPages - frames.owned(id), 0) + 2 ** MAXIMUM_ORDER;
	}
	return allowance;
}

function allocateExtent(domain: Domain, order: number, limit: number): number | undefined {
	const { frames } = domain.hypervisor;
	const count = 2 ** order;
	if (domain.pages + count > domain.maximumPages) {
		frames.complain(domain.id, `Over-allocation: ${domain.pages + count} > ${domain.maximumPages}`);
		return undefined;
	}
	const mfn = frames.allocateContiguous(domain.id, order, untouchedAllowance(domain));
	if (mfn === undefined || mfn + count <= limit) return mfn;
	for (let page = mfn; page < mfn + count; page++) frames.releaseAllocated(page);
	return undefined;
}

/** Extents until the list ends, one fails, or the work is used up; true in the last case. */
function forExtents(frames: FrameTable, extents: Extents, one: (index: number) => boolean): boolean {
	const first = extents.done;
	for (; extents.done < extents.count; extents.done++) {
		if (extents.done !== first && frames.work <= 0) return true;
		frames.work -= FRAME_WORK << extents.order;
		if (!one(extents.done)) return false;
	}
	return false;
}

/** XENMEM_increase_reservation; the list, where there is one, gets the frames. True where it was preempted. */
export function increaseReservation(domain: Domain, extents: Extents): boolean {
	return forExtents(domain.hypervisor.frames, extents, (index) => {
		const mfn = allocateExtent(domain, extents.order, extents.limit);
		return mfn !== undefined && (extents.list === 0 || writeFrame(domain, extents.list, index, mfn));
	});
}

/** XENMEM_populate_physmap: frames for the pseudo-physical frames of the list, which gets them. True where it was preempted. */
export function populatePhysmap(domain: Domain, extents: Extents): boolean {
	return forExtents(domain.hypervisor.frames, extents, (index) => {
		const pfn = readFrame(domain, extents.list, index);
		if (pfn === undefined) return false;
		const mfn = allocateExtent(domain, extents.order, extents.limit);
		if (mfn === undefined) return false;
		nameFrames(domain, mfn, pfn, extents.order);
		return writeFrame(domain, extents.list, index, mfn);
	});
}

function nameFrames(domain: Domain, mfn: number, pfn: number, order: number): void {
	for (let page = 0; page < 2 ** order; page++) domain.hypervisor.frames.setM2p(mfn + page, pfn + page);
}

/** XENMEM_decrease_reservation. A frame that is still mapped is freed with its last mapping. True where it was preempted. */
export function decreaseReservation(domain: Domain, extents: Extents): boolean {
	const { frames } = domain.hypervisor;
	return forExtents(frames, extents, (index) => {
		const first = readFrame(domain, extents.list, index);
		if (first === undefined) return false;
		for (let page = 0; page < 2 ** extents.order; page++) {
			const mfn = first + page;
			if (!frames.getPage(mfn, domain.id)) {
				frames.complain(domain.id, `Bad page free of ${mfn.toString(16)}`);
				return false;
			}
			frames.releaseAllocated(mfn);
			frames.putPage(mfn);
		}
		return true;
	});
}

/** What an exchange asks for; `exchanged` counts input extents. */
export interface Exchange {
	readonly inList: number;
	readonly inOrder: number;
	readonly inCount: number;
	readonly outList: number;
	readonly outOrder: number;
	readonly limit: number;
	exchanged: number;
}

/** The fields of struct xen_memory_exchange at a linear address. */
export function readExchange(domain: Domain, address: number, limit: number): Exchange {
	const { memory } = domain.hypervisor;
	const from = memory.u64.bind(memory);
	const input = address + memoryExchange.offset.in;
	const output = address + memoryExchange.offset.out;
	return {
		inList: memory.i64(input + memoryReservation.offset.extentStart),
		inOrder: memory.u32(input + memoryReservation.offset.extentOrder),
		inCount: from(input + memoryReservation.offset.nrExtents),
		outList: memory.i64(output + memoryReservation.offset.extentStart),
		outOrder: memory.u32(output + memoryReservation.offset.extentOrder),
		limit,
		exchanged: from(address + memoryExchange.offset.nrExchanged),
	};
}

/**
 * XENMEM_exchange, a chunk at a time: as many input extents as make an output extent, or the reverse. A chunk is exchanged wholly or not
 * at all.
 * @returns 0, a negative errno, or undefined where it was preempted
 */
export function exchangeExtents(domain: Domain, exchange: Exchange): number | undefined {
	const { frames } = domain.hypervisor;
	const inChunk = Math.max(exchange.outOrder - exchange.inOrder, 0);
	const outChunk = Math.max(exchange.inOrder - exchange.outOrder, 0);
	const chunks = Math.floor(exchange.inCount / 2 ** inChunk);
	const first = Math.floor(exchange.exchanged / 2 ** inChunk);
	let result = 0;
	for (let chunk = first; chunk < chunks; chunk++) {
		if (chunk !== first && frames.work <= 0) {
			exchange.exchanged = chunk * 2 ** inChunk;
			return undefined;
		}
		frames.work -= FRAME_WORK << Math.max(exchange.inOrder, exchange.outOrder);
		const failure = exchangeChunk(domain, exchange, chunk, 2 ** inChunk, 2 ** outChunk);
		if (failure === -Errno.EFAULT) result = failure;
		else if (failure !== 0) {
			exchange.exchanged = chunk * 2 ** inChunk;
			return failure === UNREADABLE ? -Errno.EFAULT : failure;
		}
	}
	exchange.exchanged = exchange.inCount;
	return result;
}

/** A chunk's input list cannot be read: nothing is exchanged. (-EFAULT means that the output list could not be written.) */
const UNREADABLE = 1;

function exchangeChunk(domain: Domain, exchange: Exchange, chunk: number, inputs: number, outputs: number): number {
	const { frames } = domain.hypervisor;
	const stolen: number[] = [];
	const taken: number[] = [];
	const undo = (result: number): number => {
		for (const mfn of stolen) frames.restore(mfn, domain.id);
		for (const mfn of taken)
			for (let page = 0; page < 2 ** exchange.outOrder; page++) frames.releaseAllocated(mfn + page);
		return result;
	};
	for (let input = 0; input < inputs; input++) {
		const mfn = readFrame(domain, exchange.inList, chunk * inputs + input);
		if (mfn === undefined) return undo(UNREADABLE);
		for (let page = 0; page < 2 ** exchange.inOrder; page++) {
			if (!frames.steal(mfn + page, domain.id)) {
				frames.complain(domain.id, `Bad steal of mfn ${(mfn + page).toString(16)}`);
				return undo(-Errno.EINVAL);
			}
			stolen.push(mfn + page);
		}
	}
	for (let output = 0; output < outputs; output++) {
		const allowance = untouchedAllowance(domain) - stolen.length;
		const mfn = frames.allocateContiguous(domain.id, exchange.outOrder, allowance);
		if (mfn === undefined) return undo(-Errno.ENOMEM);
		taken.push(mfn);
		if (mfn + 2 ** exchange.outOrder > exchange.limit) return undo(-Errno.ENOMEM);
	}
	for (const mfn of stolen) frames.discard(mfn);
	let result = 0;
	for (const [output, mfn] of taken.entries()) {
		const pfn = readFrame(domain, exchange.outList, chunk * outputs + output);
		if (pfn === undefined) {
			result = -Errno.EFAULT;
			continue;
		}
		nameFrames(domain, mfn, pfn, exchange.outOrder);
		if (!writeFrame(domain, exchange.outList, chunk * outputs + output, mfn)) result = -Errno.EFAULT;
	}
	return result;
}
