/** TLB flushes that a guest asks for. All its vCPUs share one processor, so a flush of any of them is a flush of that one. */
import { Errno } from "../abi/errno.ts";
import { copyFromGuest, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

/**
 * Whether a mask of vCPUs in guest memory names one that exists.
 * @returns 1 or 0, or -EFAULT
 */
export function vcpuMaskNotEmpty(vcpu: Vcpu, address: number): number {
	const { hypervisor, vcpus } = vcpu.domain;
	let found = 0;
	for (let first = 0; first < vcpus.length; first += 64) {
		if (!copyFromGuest(hypervisor, address + first / 8, 8)) return -Errno.EFAULT;
		for (let bit = 0; bit < 64 && first + bit < vcpus.length; bit++) {
			if (((hypervisor.memory.u8(SCRATCH + (bit >>> 3)) >>> (bit & 7)) & 1) !== 0) found = 1;
		}
	}
	return found;
}
