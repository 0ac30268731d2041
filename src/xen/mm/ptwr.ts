/**
 * Writable page tables: a guest kernel may store to its L1 tables as if they were memory. The mapping is read-only, the store faults, and the
 * processor executes its instruction once more with its stores brought here (VMASST_TYPE_writable_pagetables). Linux does so for ptep_set_wrprotect
 * (LOCK BTR, LOCK AND), ptep_get_and_clear (XCHG) and others: the path is warm.
 */

import { Exit, PageFault } from "../../cpu/processor.ts";
import type { Memory } from "../../memory/memory.ts";
import { TraceCategory } from "../trace.ts";
import type { Vcpu } from "../vcpu.ts";
import { updateL1Entry } from "./entries.ts";
import { FrameType } from "./frame-info.ts";
import { pageOffset } from "./guest-memory.ts";
import { Pte, pteFrame } from "./pte.ts";
import { assisted, VmAssist } from "./vm-assist-bits.ts";
import { findL1Entry } from "./walk.ts";

/** The L1 table that a page fault of the guest's kernel is a store to, as its frame; 0 for another fault. `errorCode` is the fault's. */
export function writtenTable(vcpu: Vcpu, faultAddress: number, errorCode: number): number {
	const wanted = PageFault.present | PageFault.write;
	if ((errorCode & (wanted | PageFault.reserved | PageFault.fetch)) !== wanted || !vcpu.kernelMode) return 0;
	return assisted(vcpu.domain, VmAssist.writablePagetables) ? tableAt(vcpu, faultAddress) : 0;
}

/** The frame of the guest's L1 table that is mapped read-only at an address, or 0. */
function tableAt(vcpu: Vcpu, virtualAddress: number): number {
	const { frames } = vcpu.domain.hypervisor;
	const entry = findL1Entry(frames, vcpu.kernelRoot, virtualAddress);
	if (entry === 0) return 0;
	const low = frames.words[entry]!;
	if ((low & (Pte.present | Pte.writable)) !== Pte.present) return 0;
	const mfn = pteFrame(low, frames.words[entry + 1]!);
	return frames.owner(mfn) === vcpu.domain.id && frames.isValid(mfn, FrameType.l1) ? mfn : 0;
}

/**
 * Executes the instruction at RIP, which has faulted in storing to an L1 table of its guest's kernel ({@link writtenTable}), with its stores checked
 * and done as mmu_update's are.
 * @returns how many stores it has made, at least 1 where the guest goes on. 0: there is an exception in its registers, which is its page fault unless
 * the instruction has another.
 */
export function writePageTable(vcpu: Vcpu, faultAddress: number, table: number): number {
	const { processor, trace } = vcpu.domain.hypervisor;
	const page = faultAddress - pageOffset(faultAddress);
	let stores = 0;
	const exit = processor.runDiverted(page, (offset, length, value) => {
		stores++;
		return storeToTable(vcpu, table, offset, length, value);
	});
	if (exit !== Exit.fuel) return 0;
	trace.count("emulatedPageTableWrites");
	if ((trace.categories & TraceCategory.emulation) !== 0) trace.emulated(vcpu, "page table write");
	return Math.max(1, stores);
}

/**
 * Stores bytes to an L1 table: 1, 2, 4 or 8 of one entry, at a multiple of their number. Others only where they change nothing, as a CMPXCHG16B that
 * compares unequal.
 * @param table its frame
 * @param value linear address of the bytes
 * @returns false where they are refused; nothing has changed
 */
export function storeToTable(vcpu: Vcpu, table: number, offset: number, length: number, value: number): boolean {
	const { domain } = vcpu;
	const { frames, memory } = domain.hypervisor;
	const aligned = offset % length === 0;
	if (!aligned || (length !== 1 && length !== 2 && length !== 4 && length !== 8)) {
		const to = memory.frame(table) + offset;
		if (length <= 16 && sameBytes(memory, to, value, length)) return true;
		frames.complain(domain.id, `ptwr_emulate: bad access (${length} bytes at ${offset.toString(16)} of a table)`);
		return false;
	}
	const { words } = frames;
	const at = frames.entry(table, offset >>> 3);
	// The entry with the store's bytes in their place, by way of a copy of it.
	entry.setInt32(0, words[at]!, true);
	entry.setInt32(4, words[at + 1]!, true);
	for (let byte = 0; byte < length; byte++) entry.setUint8((offset & 7) + byte, memory.u8(value + byte));
	const [low, high] = [entry.getUint32(0, true), entry.getUint32(4, true)];
	const result = updateL1Entry(frames, table, at, low, high, 0, domain.id, domain.id);
	if (result === 0) return true;
	frames.complain(domain.id, `ptwr_emulate: could not get_page_from_l1e() (${result})`);
	return false;
}
const entry = new DataView(new ArrayBuffer(8));

function sameBytes(memory: Memory, one: number, other: number, length: number): boolean {
	for (let byte = 0; byte < length; byte++) if (memory.u8(one + byte) !== memory.u8(other + byte)) return false;
	return true;
}
