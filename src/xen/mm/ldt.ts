/**
 * The frames of a vCPU's LDT. The guest names its LDT by a virtual address; each page is looked up when a descriptor of it is first needed,
 * and held as a page of segment descriptors until the LDT, the page tables or the page's mapping change.
 */

import type { Vcpu } from "../vcpu.ts";
import { FrameType } from "./frame-info.ts";
import type { FrameTable } from "./frames.ts";
import { getPageAndType, putPageAndType } from "./page-types.ts";
import { Pte, pteFrame } from "./pte.ts";
import { findL1Entry } from "./walk.ts";

/** Pages of the largest LDT: 8192 descriptors. */
export const LDT_PAGES = 16;

/** The frame of page `page` of the LDT, or 0 where it cannot be one. */
export function ldtFrame(frames: FrameTable, vcpu: Vcpu, page: number): number {
	const known = vcpu.ldtFrames[page]!;
	if (known !== 0) return known;
	const entry = findL1Entry(frames, vcpu.kernelRoot, vcpu.ldtBase + page * 4096);
	if (entry === 0 || (frames.words[entry]! & Pte.present) === 0) return 0;
	const mfn = pteFrame(frames.words[entry]!, frames.words[entry + 1]!);
	if (getPageAndType(frames, mfn, vcpu.domain.id, FrameType.segmentDescriptors) !== 0) return 0;
	vcpu.ldtFrames[page] = mfn;
	return mfn;
}

/** Notes that the processor asked for a descriptor of the LDT whose page cannot hold any: its fault is a page fault then. */
export function noteLdtFault(vcpu: Vcpu, selector: number): void {
	const isInLdt = (selector & 4) !== 0 && (selector & 0xffff) >>> 3 < vcpu.ldtEntries;
	vcpu.ldtFault = isInLdt ? selector & 0xfffc : 0;
}

/**
 * The address that a #GP with `errorCode` is a page fault at, because the LDT's page is missing there; undefined where it is not.
 */
export function ldtFaultAddress(vcpu: Vcpu, errorCode: number): number | undefined {
	const selector = vcpu.ldtFault;
	vcpu.ldtFault = 0;
	return selector !== 0 && selector === errorCode ? vcpu.ldtBase + (selector & ~7) : undefined;
}

/** Gives up the frames of a vCPU's LDT; they are looked up anew when needed. */
export function dropLdt(frames: FrameTable, vcpu: Vcpu): void {
	const { ldtFrames } = vcpu;
	for (let page = 0; page < LDT_PAGES; page++) {
		const mfn = ldtFrames[page]!;
		if (mfn === 0) continue;
		ldtFrames[page] = 0;
		putPageAndType(frames, mfn);
	}
}

/** {@link dropLdt} for all vCPUs of a domain. */
export function forgetDescriptorFrames(frames: FrameTable, domainId: number): void {
	const domain = frames.host.domains.get(domainId);
	if (domain === undefined) return;
	for (const vcpu of domain.vcpus) dropLdt(frames, vcpu);
}
