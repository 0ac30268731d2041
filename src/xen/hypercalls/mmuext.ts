/** mmuext_op: pinning, page-table roots, TLB and cache flushes, the LDT, and copies of whole pages. */

import { PAGE_SIZE } from "../../memory/map.ts";
import { DOMID_IO } from "../abi/domid.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import { MMU_UPDATE_PREEMPTED, MmuextCommand, mmuextOp } from "../abi/mmu.ts";
import { type Arguments, type Hypercall, type HypercallResult, PREEMPTED } from "../hypercall.ts";
import { acquireLevel, RESTART } from "../mm/entries.ts";
import { vcpuMaskNotEmpty } from "../mm/flush.ts";
import { FrameType, PINNED, TYPE } from "../mm/frame-info.ts";
import { dropLdt } from "../mm/ldt.ts";
import { getPageType, putPageAndType, putUnmappedWritable } from "../mm/page-types.ts";
import { setKernelRoot, setUserRoot } from "../mm/roots.ts";
import { addressOk, copyFromGuest, SCRATCH_LIST } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";
import { doneBefore, endBatch, isLeftover, pageOwner, startBatch } from "./batch.ts";

const EINVAL = -Errno.EINVAL;
const LDT_LIMIT = 8192;
const REQUEST_WORK = 64;

function mmuext(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { domain } = vcpu;
	const { hypervisor } = domain;
	const { frames } = hypervisor;
	if (!startBatch(vcpu)) return PREEMPTED;
	if (isLeftover(args)) return args.low(3) | 0;
	const count = (args.low(1) & ~MMU_UPDATE_PREEMPTED) >>> 0;
	const address = args.signed(0);
	const { size } = mmuextOp;
	const before = doneBefore(vcpu, args);
	if (!addressOk(address) || (count !== 0 && !addressOk(address + count * size - 1))) {
		return endBatch(vcpu, args, 0, before, size, -Errno.EFAULT);
	}
	const owner = pageOwner(vcpu, args.low(3) & 0xffff);
	if (owner < 0) return owner;
	if (owner === DOMID_IO) return -Errno.EPERM;

	let result = 0;
	let done = 0;
	for (; done < count; done++) {
		if (domain.deferredTable !== 0 || (done > 0 && frames.work <= 0)) {
			result = RESTART;
			break;
		}
		frames.work -= REQUEST_WORK;
		if (!copyFromGuest(hypervisor, address + done * size, size, SCRATCH_LIST)) {
			result = -Errno.EFAULT;
			break;
		}
		result = operation(vcpu);
		if (result !== 0) break;
	}
	return endBatch(vcpu, args, done, before, size, result);
}

/** The operation in SCRATCH_LIST: 0, a negative errno, or RESTART. */
function operation(vcpu: Vcpu): number {
	const { memory, frames, processor } = vcpu.domain.hypervisor;
	const { offset } = mmuextOp;
	const command = memory.u32(SCRATCH_LIST + offset.cmd);
	const frame = memory.u64(SCRATCH_LIST + offset.arg1);
	const virtualAddress = memory.i64(SCRATCH_LIST + offset.arg1);
	switch (command) {
		case MmuextCommand.pinL1Table:
		case MmuextCommand.pinL2Table:
		case MmuextCommand.pinL3Table:
		case MmuextCommand.pinL4Table:
			return pin(vcpu, frame, command - MmuextCommand.pinL1Table + 1);
		case MmuextCommand.unpinTable:
			return unpin(vcpu, frame);
		case MmuextCommand.newBaseptr:
			return setKernelRoot(vcpu, frame);
		case MmuextCommand.newUserBaseptr:
			return setUserRoot(vcpu, frame);
		case MmuextCommand.tlbFlushLocal:
		case MmuextCommand.tlbFlushAll:
			frames.flushChanged();
			return 0;
		case MmuextCommand.invlpgLocal:
		case MmuextCommand.invlpgAll:
			if (addressOk(virtualAddress)) processor.flushPage(virtualAddress);
			return 0;
		case MmuextCommand.tlbFlushMulti:
		case MmuextCommand.invlpgMulti: {
			const some = vcpuMaskNotEmpty(vcpu, memory.i64(SCRATCH_LIST + offset.arg2));
			if (some < 0) return EINVAL;
			if (some === 0) return 0;
			if (command === MmuextCommand.tlbFlushMulti) frames.flushChanged();
			else if (addressOk(virtualAddress)) processor.flushPage(virtualAddress);
			return 0;
		}
		case MmuextCommand.flushCacheGlobal:
			return EINVAL;
		case MmuextCommand.flushCache:
			frames.complain(vcpu.domain.id, "Non-physdev domain tried to FLUSH_CACHE");
			return -Errno.EACCES;
		case MmuextCommand.setLdt:
			return setLdt(vcpu, virtualAddress, memory.u32(SCRATCH_LIST + offset.arg2));
		case MmuextCommand.clearPage:
			return clearPage(vcpu, frame);
		case MmuextCommand.copyPage:
			return copyPage(vcpu, frame, memory.u64(SCRATCH_LIST + offset.arg2));
		case MmuextCommand.markSuper:
		case MmuextCommand.unmarkSuper:
			return -Errno.EOPNOTSUPP;
		default:
			return -Errno.ENOSYS;
	}
}

function pin(vcpu: Vcpu, mfn: number, level: number): number {
	const { frames } = vcpu.domain.hypervisor;
	const result = acquireLevel(frames, vcpu, mfn, level);
	if (result !== 0) {
		if (result < 0) frames.complain(vcpu.domain.id, `Error ${result} while pinning mfn ${mfn.toString(16)}`);
		return result;
	}
	const at = frames.info(mfn) + TYPE;
	if ((frames.words[at]! & PINNED) !== 0) {
		frames.complain(vcpu.domain.id, `mfn ${mfn.toString(16)} already pinned`);
		putPageAndType(frames, mfn);
		return EINVAL;
	}
	frames.words[at]! |= PINNED;
	return 0;
}

function unpin(vcpu: Vcpu, mfn: number): number {
	const { frames } = vcpu.domain.hypervisor;
	if (frames.owner(mfn) !== vcpu.domain.id) {
		frames.complain(vcpu.domain.id, `mfn ${mfn.toString(16)} bad domain`);
		return EINVAL;
	}
	const at = frames.info(mfn) + TYPE;
	if ((frames.words[at]! & PINNED) === 0) {
		frames.complain(vcpu.domain.id, `mfn ${mfn.toString(16)} not pinned`);
		return EINVAL;
	}
	frames.words[at]! &= ~PINNED;
	putPageAndType(frames, mfn);
	return 0;
}

function setLdt(vcpu: Vcpu, virtualAddress: number, entries: number): number {
	const { frames } = vcpu.domain.hypervisor;
	const base = entries === 0 ? 0 : virtualAddress;
	if (base % PAGE_SIZE !== 0 || entries > LDT_LIMIT || !addressOk(base) || !addressOk(base + entries * 8)) {
		frames.complain(vcpu.domain.id, `Bad args to SET_LDT: ptr=${base.toString(16)}, ents=${entries}`);
		return EINVAL;
	}
	if (base === vcpu.ldtBase && entries === vcpu.ldtEntries) return 0;
	dropLdt(frames, vcpu);
	vcpu.ldtBase = base;
	vcpu.ldtEntries = entries;
	return 0;
}

/** Takes a frame to write all of it; false where it is not the domain's or cannot be written. */
function takeForWriting(vcpu: Vcpu, mfn: number): boolean {
	const { frames } = vcpu.domain.hypervisor;
	if (frames.owner(mfn) === vcpu.domain.id && getPageType(frames, mfn, FrameType.writable) === 0) return true;
	frames.complain(vcpu.domain.id, `Error writing page ${mfn.toString(16)}`);
	return false;
}

function clearPage(vcpu: Vcpu, mfn: number): number {
	const { frames, memory } = vcpu.domain.hypervisor;
	if (!takeForWriting(vcpu, mfn)) return EINVAL;
	frames.contentsChange(mfn);
	memory.fill(memory.frame(mfn), PAGE_SIZE, 0);
	putUnmappedWritable(frames, mfn);
	return 0;
}

function copyPage(vcpu: Vcpu, mfn: number, source: number): number {
	const { frames, memory } = vcpu.domain.hypervisor;
	if (frames.owner(source) !== vcpu.domain.id) {
		frames.complain(vcpu.domain.id, `Error copying from mfn ${source.toString(16)}`);
		return EINVAL;
	}
	if (!takeForWriting(vcpu, mfn)) return EINVAL;
	frames.contentsChange(mfn);
	memory.copy(memory.frame(mfn), memory.frame(source), PAGE_SIZE);
	putUnmappedWritable(frames, mfn);
	return 0;
}

export const mmuextHypercall: Hypercall = {
	number: HypercallNumber.mmuext_op,
	name: "mmuext_op",
	arguments: [
		{ name: "uops", kind: "pointer" },
		{ name: "count", kind: "unsigned" },
		{ name: "pdone", kind: "pointer" },
		{ name: "foreigndom", kind: "domain" },
	],
	handler: mmuext,
};
