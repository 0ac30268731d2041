/**
 * Private copies of hypercall arguments, in linear memory so that the ABI's structures (abi/) describe them too. A guest may
 * change its memory between two looks: handlers copy once and read only the copy. Nothing here allocates.
 */

import { Access } from "../cpu/processor.ts";
import { HYPERVISOR_SCRATCH, HYPERVISOR_SCRATCH_SIZE, PAGE_SIZE } from "../memory/map.ts";
import { HYPERVISOR_VIRT_END, isCanonical } from "./abi/arch.ts";
import type { Hypervisor } from "./hypervisor.ts";
import { pageOffset } from "./mm/guest-memory.ts";

/** Linear address of the copy that {@link copyFromGuest} makes where told nothing else. */
export const SCRATCH = HYPERVISOR_SCRATCH;
/** A second one, for lists that are walked while a structure stays in the first. */
export const SCRATCH_LIST = HYPERVISOR_SCRATCH + HYPERVISOR_SCRATCH_SIZE / 2;
export const SCRATCH_SIZE = HYPERVISOR_SCRATCH_SIZE / 2;

/** access_ok of Xen: a guest's pointer may not point into the hypervisor's part of the address space. */
export function addressOk(virtualAddress: number): boolean {
	return isCanonical(virtualAddress) && (virtualAddress >= 0 || virtualAddress >= HYPERVISOR_VIRT_END);
}

/**
 * Copies `length` bytes from the running vCPU's kernel address space to linear address `to`.
 * @returns false where a byte cannot be read: the caller answers -EFAULT.
 */
export function copyFromGuest(hypervisor: Hypervisor, virtualAddress: number, length: number, to = SCRATCH): boolean {
	const { memory, processor } = hypervisor;
	if (!addressOk(virtualAddress)) return false;
	let done = 0;
	while (done < length) {
		const address = virtualAddress + done;
		const count = Math.min(length - done, PAGE_SIZE - pageOffset(address));
		const linear = processor.translate(address, Access.read, 0);
		if (linear < 0) return false;
		memory.copy(to + done, linear, count);
		done += count;
	}
	return true;
}

/** Copies `length` bytes at linear address `from` to the running vCPU's kernel address space; false where it cannot be written. */
export function copyToGuest(hypervisor: Hypervisor, virtualAddress: number, length: number, from = SCRATCH): boolean {
	const { memory, processor } = hypervisor;
	if (!addressOk(virtualAddress)) return false;
	let done = 0;
	while (done < length) {
		const address = virtualAddress + done;
		const count = Math.min(length - done, PAGE_SIZE - pageOffset(address));
		const linear = processor.translate(address, Access.write, 0);
		if (linear < 0) return false;
		processor.codeChanged(memory.frameAt(linear));
		memory.copy(linear, from + done, count);
		done += count;
	}
	return true;
}

/** The u32 at a guest's address, or -1 where it cannot be read: the commonest argument, without a copy. */
export function readGuestU32(hypervisor: Hypervisor, virtualAddress: number): number {
	if (pageOffset(virtualAddress) > PAGE_SIZE - 4 || !addressOk(virtualAddress)) {
		return copyFromGuest(hypervisor, virtualAddress, 4) ? hypervisor.memory.u32(SCRATCH) : -1;
	}
	const linear = hypervisor.processor.translate(virtualAddress, Access.read, 0);
	return linear < 0 ? -1 : hypervisor.memory.u32(linear);
}
