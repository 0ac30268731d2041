/**
 * Changes of page tables: mmu_update, update_va_mapping and its form for another domain; mmuext_op is in mmuext.ts. A long batch is preempted
 * when its share of work is used up, and also where a table that lost its last use takes longer to drop.
 */

import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import { MMU_COMMAND_MASK, MMU_UPDATE_PREEMPTED, MMU_UPDATE_SIZE, MmuCommand, Uvmf } from "../abi/mmu.ts";
import { type Arguments, type Hypercall, type HypercallResult, PREEMPTED } from "../hypercall.ts";
import { RESTART, updateL1Entry, updateUpperEntry } from "../mm/entries.ts";
import { vcpuMaskNotEmpty } from "../mm/flush.ts";
import * as info from "../mm/frame-info.ts";
import { FrameType } from "../mm/frame-info.ts";
import type { FrameTable } from "../mm/frames.ts";
import { getPageType, putUnmappedWritable } from "../mm/page-types.ts";
import { Pte } from "../mm/pte.ts";
import { findL1Entry, tableOf } from "../mm/walk.ts";
import { addressOk, copyFromGuest, SCRATCH_LIST } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";
import { doneBefore, endBatch, isLeftover, pageOwner, startBatch } from "./batch.ts";
import { mmuextHypercall } from "./mmuext.ts";

const EINVAL = -Errno.EINVAL;
/** Requests that are copied from the guest at once. */
const CHUNK = 64;
/** Work of a request, beside what the entries of tables cost. */
export const REQUEST_WORK = 16;

function mmuUpdate(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { domain } = vcpu;
	const { hypervisor } = domain;
	const { frames } = hypervisor;
	if (!startBatch(vcpu)) return PREEMPTED;
	if (isLeftover(args)) return args.low(3) | 0;
	const count = (args.low(1) & ~MMU_UPDATE_PREEMPTED) >>> 0;
	const address = args.signed(0);
	const before = doneBefore(vcpu, args);
	if (!addressOk(address) || (count !== 0 && !addressOk(address + count * MMU_UPDATE_SIZE - 1))) {
		return endBatch(vcpu, args, 0, before, MMU_UPDATE_SIZE, -Errno.EFAULT);
	}
	const tableDomain = args.low(3) >>> 16;
	if (tableDomain !== 0 && tableDomain - 1 !== domain.id) {
		return hypervisor.domains.has(tableDomain - 1) ? -Errno.EPERM : -Errno.ESRCH;
	}
	const owner = pageOwner(vcpu, args.low(3) & 0xffff);
	// Whether the domain may name another is asked with each request.
	if (owner < 0) return owner === -Errno.EPERM && count === 0 ? 0 : owner;

	let result = 0;
	let done = 0;
	let chunkEnd = 0;
	let at = 0;
	for (; done < count; done++, at += MMU_UPDATE_SIZE / 4) {
		if (domain.deferredTable !== 0 || (done > 0 && frames.work <= 0)) {
			result = RESTART;
			break;
		}
		if (done === chunkEnd) {
			chunkEnd = Math.min(done + CHUNK, count);
			if (!copyRequests(vcpu, address + done * MMU_UPDATE_SIZE, chunkEnd - done)) {
				// One of them cannot be read: those before it still count.
				chunkEnd = done + 1;
				if (!copyRequests(vcpu, address + done * MMU_UPDATE_SIZE, 1)) {
					result = -Errno.EFAULT;
					break;
				}
			}
			at = SCRATCH_LIST / 4;
		}
		if (owner === domain.id) {
			// As many as there is work for; the loop's own step is for the last of them.
			const most = Math.min(chunkEnd - done, Math.max(1, Math.ceil(frames.work / REQUEST_WORK)));
			const ordinary = frames.tables.updateEntries(at * 4, most, owner);
			if (ordinary > 0) {
				frames.work -= ordinary * REQUEST_WORK;
				done += ordinary - 1;
				at += ((ordinary - 1) * MMU_UPDATE_SIZE) / 4;
				continue;
			}
		}
		frames.work -= REQUEST_WORK;
		const { words } = frames;
		result = request(vcpu, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!, owner);
		if (result !== 0) break;
	}
	return endBatch(vcpu, args, done, before, MMU_UPDATE_SIZE, result);
}

function copyRequests(vcpu: Vcpu, address: number, count: number): boolean {
	return copyFromGuest(vcpu.domain.hypervisor, address, count * MMU_UPDATE_SIZE, SCRATCH_LIST);
}

/** One request of mmu_update: 0, a negative errno, or RESTART. */
function request(vcpu: Vcpu, ptrLow: number, ptrHigh: number, low: number, high: number, owner: number): number {
	const { domain } = vcpu;
	const { frames } = domain.hypervisor;
	const command = ptrLow & MMU_COMMAND_MASK;
	const mfn = ptrHigh * 0x10_0000 + (ptrLow >>> 12);
	if (command === MmuCommand.machphys) {
		if (!frames.exists(mfn) || frames.owner(mfn) !== owner) {
			frames.complain(domain.id, "Could not get page for mach->phys update");
			return EINVAL;
		}
		frames.machineToPhysical.setHalves(mfn, low, high);
		return 0;
	}
	if (command !== MmuCommand.normal && command !== MmuCommand.preserveAd && command !== MmuCommand.noTranslate) {
		frames.complain(domain.id, `Invalid page update command ${command.toString(16)}`);
		return -Errno.ENOSYS;
	}
	// A reference for the time of the update: it may drop the last other one.
	if (!frames.getPage(mfn, domain.id)) {
		frames.complain(domain.id, "Could not get page for normal update");
		return EINVAL;
	}
	const at = frames.entry(mfn, (ptrLow & 0xfff) >>> 3);
	const keep = command === MmuCommand.preserveAd ? Pte.accessed | Pte.dirty : 0;
	const word = frames.words[frames.info(mfn) + info.TYPE]!;
	const type = (word & info.TYPE_MASK) >>> 0;
	const inUse = (word & info.VALIDATED) !== 0 && (word & info.TYPE_COUNT) !== 0;
	let result: number;
	if (inUse && type === FrameType.l1) {
		result = updateL1Entry(frames, mfn, at, low, high, keep, domain.id, owner);
	} else if (inUse && type >= FrameType.l2 && type <= FrameType.l4) {
		result =
			owner === domain.id ? updateUpperEntry(frames, vcpu, type / FrameType.l1, mfn, at, low, high, keep) : EINVAL;
	} else {
		result = writePlain(frames, mfn, at, low, high);
	}
	frames.putPage(mfn);
	return result;
}

/** Writes a word of a frame that is no table, as the guest itself could. */
function writePlain(frames: FrameTable, mfn: number, at: number, low: number, high: number): number {
	if (getPageType(frames, mfn, FrameType.writable) !== 0) return EINVAL;
	frames.contentsChange(mfn);
	frames.words[at] = low;
	frames.words[at + 1] = high;
	putUnmappedWritable(frames, mfn);
	return 0;
}

function updateVaMapping(vcpu: Vcpu, args: Arguments): HypercallResult {
	return updateMapping(vcpu, args, vcpu.domain.id);
}

function updateVaMappingOtherDomain(vcpu: Vcpu, args: Arguments): HypercallResult {
	const owner = pageOwner(vcpu, args.low(3) & 0xffff);
	if (owner < 0) return owner;
	// Unlike mmu_update, this is not for I/O frames either.
	return owner === vcpu.domain.id ? updateMapping(vcpu, args, owner) : -Errno.EPERM;
}

function updateMapping(vcpu: Vcpu, args: Arguments, owner: number): number {
	const { domain } = vcpu;
	const { frames, processor } = domain.hypervisor;
	frames.startWork();
	const address = args.signed(0);
	const at = findL1Entry(frames, vcpu.kernelRoot, address);
	if (at === 0) return EINVAL;
	const table = tableOf(frames, at);
	if (frames.owner(table) !== domain.id || !frames.isValid(table, FrameType.l1)) return EINVAL;
	const result = updateL1Entry(frames, table, at, args.low(1), args.high(1), 0, domain.id, owner);
	if (result !== 0) return result;
	const kind = args.low(2) & Uvmf.flushTypeMask;
	if (kind !== Uvmf.tlbFlush && kind !== Uvmf.invlpg) return 0;
	const where = args.signed(2) - kind;
	if (where !== Uvmf.local && where !== Uvmf.all) {
		const some = vcpuMaskNotEmpty(vcpu, where);
		if (some <= 0) return some;
	}
	if (kind === Uvmf.tlbFlush) frames.flushChanged();
	else processor.flushPage(address);
	return 0;
}

export const mmuHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.mmu_update,
		name: "mmu_update",
		arguments: [
			{ name: "ureqs", kind: "pointer" },
			{ name: "count", kind: "unsigned" },
			{ name: "pdone", kind: "pointer" },
			{ name: "foreigndom", kind: "domain" },
		],
		handler: mmuUpdate,
	},
	{
		number: HypercallNumber.update_va_mapping,
		name: "update_va_mapping",
		arguments: [
			{ name: "va", kind: "pointer" },
			{ name: "val", kind: "hex" },
			{ name: "flags", kind: "hex" },
		],
		handler: updateVaMapping,
	},
	{
		number: HypercallNumber.update_va_mapping_otherdomain,
		name: "update_va_mapping_otherdomain",
		arguments: [
			{ name: "va", kind: "pointer" },
			{ name: "val", kind: "hex" },
			{ name: "flags", kind: "hex" },
			{ name: "domid", kind: "domain" },
		],
		handler: updateVaMappingOtherDomain,
	},
	mmuextHypercall,
];
