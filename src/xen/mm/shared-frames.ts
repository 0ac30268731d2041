/**
 * Guest frames that the hypervisor itself writes for as long as the guest likes: vcpu_info, event words, control blocks. They are
 * held with a reference and the writable type, so that they can become neither another domain's nor a page table meanwhile.
 */
import type { Domain } from "../domain.ts";

/** @returns the frame's linear address, or -1 where it is not the domain's or cannot be written (-EINVAL to the guest). */
export function holdWritable(domain: Domain, mfn: number): number {
	const { frames, memory } = domain.hypervisor;
	return Number.isSafeInteger(mfn) && frames.getWritable(mfn, domain.id) ? memory.frame(mfn) : -1;
}

/** Gives back what {@link holdWritable} took; `linear` may point anywhere in the frame. */
export function releaseWritable(domain: Domain, linear: number): void {
	const { frames, memory } = domain.hypervisor;
	frames.putPageAndType(memory.frameAt(linear));
}
