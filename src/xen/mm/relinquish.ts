/**
 * The end of a domain's memory: everything that its vCPUs and tables hold is dropped, and then its frames are given back. Frames that
 * another domain still has mapped (grants) stay, ownerless but for the name, until that domain lets go.
 */
import type { Domain } from "../domain.ts";
import * as info from "./frame-info.ts";
import { FrameType, tableType } from "./frame-info.ts";
import type { FrameTable } from "./frames.ts";
import { dropGdt } from "./gdt.ts";
import { dropLdt } from "./ldt.ts";
import { dropDeferred, putPageAndType } from "./page-types.ts";
import { ENTRIES } from "./pte.ts";
import { dropTable } from "./tables.ts";

/** Takes all frames from a domain that runs no more. */
export function relinquishDomain(domain: Domain): void {
	const { frames } = domain.hypervisor;
	frames.work = Number.POSITIVE_INFINITY;
	for (const vcpu of domain.vcpus) {
		dropLdt(frames, vcpu);
		dropGdt(frames, vcpu);
		for (const table of [vcpu.partialTable, vcpu.kernelRoot, vcpu.userRoot]) {
			if (table !== 0) putPageAndType(frames, table);
		}
		vcpu.partialTable = 0;
		vcpu.kernelRoot = 0;
		vcpu.userRoot = 0;
	}
	dropDeferred(frames, domain);
	frames.forEachOf(domain.id, (mfn, at) => {
		const word = frames.words[at + info.TYPE]!;
		if ((word & info.PINNED) === 0) return;
		frames.words[at + info.TYPE] = word & ~info.PINNED;
		putPageAndType(frames, mfn);
	});
	// Linear mappings may hold each other up in a circle: what is still a table loses its contents by force, from the top.
	for (let level = 4; level >= 1; level--) {
		frames.forEachOf(domain.id, (mfn, at) => {
			const word = frames.words[at + info.TYPE]!;
			if ((word & info.TYPE_MASK) >>> 0 !== tableType(level) || (word & (info.VALIDATED | info.PARTIAL)) === 0) return;
			if ((word & info.PARTIAL) === 0) frames.words[at + info.PROGRESS] = ENTRIES;
			frames.words[at + info.TYPE] = word & ~(info.VALIDATED | info.PARTIAL);
			// Keep the frame over its own drop: an entry may be the last to refer to it.
			frames.words[at + info.REFERENCES]!++;
			dropTable(frames, mfn, level);
			frames.putPage(mfn);
		});
	}
	const given: number[] = [];
	frames.forEachOf(domain.id, (mfn) => {
		given.push(mfn);
		frames.releaseAllocated(mfn);
	});
	frames.startWork();
	frames.flushAll();
	frames.findUntouched(given);
}

/** References that are left to a domain's frames: none once it is gone and no other domain maps any of them. For tests and `xl debug-keys`. */
export function outstandingReferences(frames: FrameTable, domainId: number): { references: number; types: number } {
	const left = { references: 0, types: 0 };
	frames.forEachOf(domainId, (mfn) => {
		left.references += frames.references(mfn);
		if (frames.type(mfn) !== FrameType.none) left.types += frames.typeCount(mfn);
	});
	return left;
}
