/** Counts anew what a domain's tables, pins and vCPUs refer to, and compares it with the frame table's counts. */

import * as info from "../../../src/xen/mm/frame-info.ts";
import { tableType } from "../../../src/xen/mm/frame-info.ts";
import type { FrameTable } from "../../../src/xen/mm/frames.ts";
import { pteFrame } from "../../../src/xen/mm/pte.ts";
import { isGuestSlot } from "../../../src/xen/mm/tables.ts";
import { type Machine, P, RW } from "./machine.ts";

export function audit(machine: Machine): string[] {
	const { frames } = machine;
	const references = new Map<number, number>();
	const uses = new Map<number, number>();
	const hold = (mfn: number, typed: boolean) => {
		references.set(mfn, (references.get(mfn) ?? 0) + 1);
		if (typed) uses.set(mfn, (uses.get(mfn) ?? 0) + 1);
	};
	for (let mfn = 1; mfn < frames.frames; mfn++) {
		if (!isGuests(machine, mfn)) continue;
		const at = frames.info(mfn);
		const word = frames.words[at + info.TYPE]!;
		if ((frames.words[at + info.REFERENCES]! & info.ALLOCATED) !== 0) hold(mfn, false);
		if ((word & info.PINNED) !== 0) hold(mfn, true);
		for (let level = 1; level <= 4; level++) if (frames.type(mfn) === tableType(level)) table(frames, mfn, level, hold);
	}
	for (const domain of machine.domains.values()) {
		for (let mfn = domain.deferredTable; mfn !== 0; mfn = frames.words[frames.info(mfn) + info.NEXT]!) hold(mfn, true);
		for (const vcpu of domain.vcpus) {
			const tables = [vcpu.kernelRoot, vcpu.userRoot, vcpu.partialTable, ...vcpu.gdtFrames, ...vcpu.ldtFrames];
			for (const mfn of tables) if (mfn !== 0) hold(mfn, true);
		}
	}
	const wrong: string[] = [];
	for (let mfn = 1; mfn < frames.frames; mfn++) {
		if (!isGuests(machine, mfn)) continue;
		if (frames.references(mfn) !== (references.get(mfn) ?? 0)) {
			wrong.push(`mfn ${mfn}: ${frames.references(mfn)} references, ${references.get(mfn) ?? 0} found`);
		}
		if (frames.typeCount(mfn) !== (uses.get(mfn) ?? 0)) {
			wrong.push(`mfn ${mfn}: ${frames.typeCount(mfn)} uses, ${uses.get(mfn) ?? 0} found`);
		}
	}
	for (const map of machine.processor.tlb) {
		for (const [page, { mfn, writable }] of map) {
			const type = frames.type(mfn);
			const inUse = frames.typeCount(mfn) !== 0;
			if (writable && inUse && type !== info.FrameType.writable) wrong.push(`page ${page}: stale writable mfn ${mfn}`);
			if (frames.owner(mfn) === undefined && frames.words[frames.info(mfn) + info.STAMP] !== frames.epoch) {
				wrong.push(`page ${page}: stale mapping of free mfn ${mfn}`);
			}
		}
	}
	return wrong;
}

function isGuests(machine: Machine, mfn: number): boolean {
	const owner = machine.frames.owner(mfn);
	return owner !== undefined && machine.domains.has(owner);
}

function table(frames: FrameTable, mfn: number, level: number, hold: (mfn: number, typed: boolean) => void): void {
	const at = frames.info(mfn);
	const word = frames.words[at + info.TYPE]!;
	const progress = frames.words[at + info.PROGRESS]!;
	let count = 0;
	if ((word & info.VALIDATED) !== 0) count = 512;
	else if ((word & info.PARTIAL) !== 0)
		count = (progress & 0xffff) + ((progress & info.SUBTABLE_PARTIAL) !== 0 ? 1 : 0);
	for (let slot = 0; slot < count; slot++) {
		if (!isGuestSlot(level, slot)) continue;
		const low = frames.words[frames.entry(mfn, slot)]!;
		if ((low & P) === 0) continue;
		const target = pteFrame(low, frames.words[frames.entry(mfn, slot) + 1]!);
		if (level === 1) hold(target, (low & RW) !== 0);
		else if (target !== mfn) hold(target, true);
	}
}
