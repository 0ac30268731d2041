/** grant_table_op: lists of operations, each with its own status; long lists are worked off in pieces. */

import { PAGE_SIZE } from "../../memory/map.ts";
import { DOMID_SELF } from "../abi/domid.ts";
import { Errno } from "../abi/errno.ts";
import * as abi from "../abi/grant-table.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import type { Domain } from "../domain.ts";
import { CopyBuffer, copyBetween } from "../grants/copy.ts";
import { type Arguments, type Hypercall, type HypercallResult, PREEMPTED } from "../hypercall.ts";
import { OWNER } from "../mm/frame-info.ts";
import { addressOk, copyFromGuest, copyToGuest, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

const { GrantOp, GrantStatus } = abi;

/** Operations of a list that are done before the scheduler may look. */
const AT_ONCE = 64;
/** Where the command's number ends; above it Xen keeps the progress of cache_flush. */
const COMMAND_MASK = 0xfff;

/** The domain that an operation names: oneself, or the status that says why not. */
function ownTable(vcpu: Vcpu, domid: number): Domain | number {
	const { domain } = vcpu;
	if (domid === DOMID_SELF || domid === domain.id) return domain;
	return domain.hypervisor.domains.has(domid) ? GrantStatus.permissionDenied : GrantStatus.badDomain;
}

// Operations on lists: one element, copied to SCRATCH; what they write there goes back to the guest.

function mapGrantRef(vcpu: Vcpu): void {
	const args = abi.mapGrantRef.at(vcpu.domain.hypervisor.memory, SCRATCH);
	const { mappings } = vcpu.domain.grants;
	const result = mappings.map(vcpu, args.hostAddr, args.flags, args.ref, args.dom);
	if (result < 0) {
		args.status = result & 0xffff;
		return;
	}
	args.handle = result;
	args.devBusAddr = mappings.busAddress(result);
	args.status = GrantStatus.okay;
}

function unmapGrantRef(vcpu: Vcpu): void {
	const args = abi.unmapGrantRef.at(vcpu.domain.hypervisor.memory, SCRATCH);
	const { mappings } = vcpu.domain.grants;
	args.status = mappings.unmap(vcpu, args.handle, args.hostAddr, args.devBusAddr, 0) & 0xffff;
}

function unmapAndReplace(vcpu: Vcpu): void {
	const args = abi.unmapAndReplace.at(vcpu.domain.hypervisor.memory, SCRATCH);
	const { mappings } = vcpu.domain.grants;
	args.status = mappings.unmap(vcpu, args.handle, args.hostAddr, 0, args.newAddr) & 0xffff;
}

const source = new CopyBuffer();
const dest = new CopyBuffer();

function claim(vcpu: Vcpu, buffer: CopyBuffer, pointer: number, byGrant: boolean, readOnly: boolean): number {
	const { domain } = vcpu;
	const { memory, domains } = domain.hypervisor;
	const domid = memory.u16(pointer + abi.copyPointer.offset.domid);
	if (!byGrant) {
		if (domid !== DOMID_SELF) return domains.has(domid) ? GrantStatus.permissionDenied : GrantStatus.badDomain;
		return buffer.claimFrame(domain, memory.u64(pointer), readOnly);
	}
	const table = domid === DOMID_SELF ? domain.grants : domains.get(domid)?.grants;
	if (table === undefined) return GrantStatus.badDomain;
	return buffer.claimGrant(table, memory.u32(pointer), domain.id, readOnly);
}

function copy(vcpu: Vcpu): void {
	const { domain } = vcpu;
	const args = abi.copy.at(domain.hypervisor.memory, SCRATCH);
	const from = SCRATCH + abi.copy.offset.source;
	const to = SCRATCH + abi.copy.offset.dest;
	let status = claim(vcpu, source, from, (args.flags & abi.CopyFlag.sourceGref) !== 0, true);
	if (status === GrantStatus.okay) status = claim(vcpu, dest, to, (args.flags & abi.CopyFlag.destGref) !== 0, false);
	if (status === GrantStatus.okay) {
		status = copyBetween(domain, source, args.source.offset, dest, args.dest.offset, args.len);
	}
	source.release(domain);
	dest.release(domain);
	args.status = status & 0xffff;
}

/** Checks that an entry accepts a frame from `from`, and commits it. */
function commitTransfer(to: Domain, from: Domain, ref: number): boolean {
	const { memory } = to.hypervisor;
	if (ref >= to.grants.entries) return false;
	const entry = to.grants.entry(ref);
	if (memory.u16(entry) !== abi.GrantFlag.acceptTransfer) return false;
	if (memory.u16(entry + abi.grantEntryV1.offset.domid) !== from.id) return false;
	memory.setU16(entry, abi.GrantFlag.acceptTransfer | abi.GrantFlag.transferCommitted);
	return true;
}

/** A frame changes its owner. Once it is taken from the caller it is gone, whatever becomes of the rest. */
function transfer(vcpu: Vcpu): void {
	const { domain } = vcpu;
	const { memory, frames, domains } = domain.hypervisor;
	const args = abi.transfer.at(memory, SCRATCH);
	const { mfn, ref } = args;
	if (!frames.steal(mfn, domain.id)) {
		args.status = GrantStatus.badPage & 0xffff;
		return;
	}
	const to = domains.get(args.domid);
	let status: number = GrantStatus.okay;
	if (to?.grants === undefined) status = GrantStatus.badDomain;
	else if (frames.owned(to.id) >= to.maximumPages || !commitTransfer(to, domain, ref))
		status = GrantStatus.generalError;
	if (to === undefined || status !== GrantStatus.okay) {
		frames.discard(mfn);
		args.status = status & 0xffff;
		return;
	}
	// Nobody maps it any more, but a translation of its old owner's may be left.
	frames.flushAll();
	frames.words[frames.info(mfn) + OWNER] = to.id;
	frames.restore(mfn, to.id);
	const entry = to.grants.entry(ref);
	frames.setM2p(mfn, to.grants.frameOf(ref));
	if (to.grants.version === 1) memory.setU32(entry + abi.grantEntryV1.offset.frame, mfn);
	else memory.setU64(entry + abi.grantEntryV2.offset.frame, mfn);
	memory.setU16(entry, memory.u16(entry) | abi.GrantFlag.transferCompleted);
	args.status = GrantStatus.okay;
}

function swapGrantRef(vcpu: Vcpu): void {
	const { grants, hypervisor } = vcpu.domain;
	const { memory } = hypervisor;
	const args = abi.swapGrantRef.at(memory, SCRATCH);
	const { refA, refB } = args;
	if (refA >= grants.entries || refB >= grants.entries) {
		args.status = GrantStatus.badGntref & 0xffff;
		return;
	}
	if (refA !== refB && (grants.pin[refA] !== 0 || grants.pin[refB] !== 0)) {
		args.status = GrantStatus.eagain & 0xffff;
		return;
	}
	const size = grants.version === 1 ? abi.grantEntryV1.size : abi.grantEntryV2.size;
	swap(vcpu, grants.entry(refA), grants.entry(refB), size);
	if (grants.version === 2) swap(vcpu, grants.status(refA), grants.status(refB), 2);
	args.status = GrantStatus.okay;
}

function swap(vcpu: Vcpu, a: number, b: number, size: number): void {
	const { memory } = vcpu.domain.hypervisor;
	for (let offset = 0; offset < size; offset += 2) {
		const word = memory.u16(a + offset);
		memory.setU16(a + offset, memory.u16(b + offset));
		memory.setU16(b + offset, word);
	}
}

interface ListOperation {
	readonly size: number;
	readonly run: (vcpu: Vcpu) => void;
}

const lists: Readonly<Record<number, ListOperation>> = {
	[GrantOp.mapGrantRef]: { size: abi.mapGrantRef.size, run: mapGrantRef },
	[GrantOp.unmapGrantRef]: { size: abi.unmapGrantRef.size, run: unmapGrantRef },
	[GrantOp.unmapAndReplace]: { size: abi.unmapAndReplace.size, run: unmapAndReplace },
	[GrantOp.copy]: { size: abi.copy.size, run: copy },
	[GrantOp.transfer]: { size: abi.transfer.size, run: transfer },
	[GrantOp.swapGrantRef]: { size: abi.swapGrantRef.size, run: swapGrantRef },
};

function runList(vcpu: Vcpu, args: Arguments, operation: ListOperation): HypercallResult {
	const { hypervisor } = vcpu.domain;
	const count = args.low(2);
	let address = args.signed(1);
	if (!addressOk(address)) return -Errno.EFAULT;
	for (let done = 0; done < count; done++) {
		if (done === AT_ONCE) {
			args.setNumber(1, address);
			args.set(2, count - done, 0);
			return PREEMPTED;
		}
		if (!copyFromGuest(hypervisor, address, operation.size)) return -Errno.EFAULT;
		operation.run(vcpu);
		if (!copyToGuest(hypervisor, address, operation.size)) return -Errno.EFAULT;
		address += operation.size;
	}
	return 0;
}

// Operations on a table

function writeFrameList(vcpu: Vcpu, list: number, mfns: readonly number[], count: number): boolean {
	const { hypervisor } = vcpu.domain;
	let written = true;
	for (let index = 0; index < count; index++) {
		hypervisor.memory.setU64(SCRATCH, mfns[index] as number);
		if (!copyToGuest(hypervisor, list + index * 8, 8)) written = false;
	}
	return written;
}

/** Writes the u16 status of the structure at `address`. */
function answer(vcpu: Vcpu, address: number, offset: number, status: number): number {
	const { hypervisor } = vcpu.domain;
	hypervisor.memory.setU16(SCRATCH, status & 0xffff);
	return copyToGuest(hypervisor, address + offset, 2) ? 0 : -Errno.EFAULT;
}

function setupTable(vcpu: Vcpu, address: number, count: number): number {
	const { hypervisor } = vcpu.domain;
	if (count !== 1) return -Errno.EINVAL;
	if (!copyFromGuest(hypervisor, address, abi.setupTable.size)) return -Errno.EFAULT;
	const { dom, nrFrames, frameList } = abi.setupTable.at(hypervisor.memory, SCRATCH);
	if (!addressOk(frameList)) return -Errno.EFAULT;
	const { offset } = abi.setupTable;
	const domain = ownTable(vcpu, dom);
	if (typeof domain === "number") return answer(vcpu, address, offset.status, domain);
	const { grants } = domain;
	let status: number = GrantStatus.okay;
	if (nrFrames > grants.maximumFrames || !grants.grow(nrFrames)) status = GrantStatus.generalError;
	else if (!writeFrameList(vcpu, frameList, grants.frames, nrFrames)) status = GrantStatus.badVirtAddr;
	return answer(vcpu, address, offset.status, status);
}

function querySize(vcpu: Vcpu, address: number, count: number): number {
	const { hypervisor } = vcpu.domain;
	if (count !== 1) return -Errno.EINVAL;
	if (!copyFromGuest(hypervisor, address, abi.querySize.size)) return -Errno.EFAULT;
	const args = abi.querySize.at(hypervisor.memory, SCRATCH);
	const domain = ownTable(vcpu, args.dom);
	if (typeof domain === "number") {
		args.status = domain & 0xffff;
	} else {
		args.nrFrames = domain.grants.frames.length;
		args.maxNrFrames = domain.grants.maximumFrames;
		args.status = GrantStatus.okay;
	}
	return copyToGuest(hypervisor, address, abi.querySize.size) ? 0 : -Errno.EFAULT;
}

const VERSION_ERRNO = { busy: Errno.EBUSY, range: Errno.ERANGE, memory: Errno.ENOMEM } as const;

function setVersion(vcpu: Vcpu, address: number): number {
	const { hypervisor, grants } = vcpu.domain;
	if (!copyFromGuest(hypervisor, address, abi.setVersion.size)) return -Errno.EFAULT;
	const version = hypervisor.memory.u32(SCRATCH);
	let result = 0;
	if (version !== 1 && version !== 2) {
		result = -Errno.EINVAL;
	} else {
		const error = grants.setVersion(version);
		if (error !== undefined) result = -VERSION_ERRNO[error];
	}
	hypervisor.memory.setU32(SCRATCH, grants.version);
	return copyToGuest(hypervisor, address, abi.setVersion.size) ? result : -Errno.EFAULT;
}

function getStatusFrames(vcpu: Vcpu, address: number, count: number): number {
	const { hypervisor } = vcpu.domain;
	if (count !== 1) return -Errno.EINVAL;
	if (!copyFromGuest(hypervisor, address, abi.getStatusFrames.size)) return -Errno.EFAULT;
	const { dom, nrFrames, frameList } = abi.getStatusFrames.at(hypervisor.memory, SCRATCH);
	const { offset } = abi.getStatusFrames;
	const domain = ownTable(vcpu, dom);
	if (typeof domain === "number") return answer(vcpu, address, offset.status, domain);
	const { statusFrames } = domain.grants;
	if (nrFrames > statusFrames.length) return answer(vcpu, address, offset.status, GrantStatus.generalError);
	const written = writeFrameList(vcpu, frameList, statusFrames, nrFrames);
	return answer(vcpu, address, offset.status, written ? GrantStatus.okay : GrantStatus.badVirtAddr);
}

function getVersion(vcpu: Vcpu, address: number): number {
	const { hypervisor } = vcpu.domain;
	if (!copyFromGuest(hypervisor, address, abi.getVersion.size)) return -Errno.EFAULT;
	const args = abi.getVersion.at(hypervisor.memory, SCRATCH);
	const domain = ownTable(vcpu, args.dom);
	if (domain === GrantStatus.badDomain) return -Errno.ESRCH;
	if (typeof domain === "number") return -Errno.EPERM;
	args.version = domain.grants.version;
	return copyToGuest(hypervisor, address, abi.getVersion.size) ? 0 : -Errno.EFAULT;
}

/** GNTTAB_CACHE_CLEAN and GNTTAB_CACHE_INVAL. */
const CACHE_CLEAN = 1;
const CACHE_INVALIDATE = 2;

/** Our memory is coherent: there is nothing to flush, but the checks are Xen's. */
function cacheFlushOne(vcpu: Vcpu): number {
	const { domain } = vcpu;
	const { hypervisor } = domain;
	const { refOrAddress, offset, length, op } = abi.cacheFlush.at(hypervisor.memory, SCRATCH);
	if (offset >= PAGE_SIZE || offset + length > PAGE_SIZE) return -Errno.EINVAL;
	if ((op & ~(CACHE_CLEAN | CACHE_INVALIDATE)) !== 0) return -Errno.EINVAL;
	if (length === 0 || op === 0) return 0;
	const mfn = Math.floor(refOrAddress / PAGE_SIZE);
	if (!hypervisor.frames.exists(mfn)) return -Errno.EINVAL;
	const owner = hypervisor.frames.owner(mfn);
	const grants = owner === undefined ? undefined : hypervisor.domains.get(owner)?.grants;
	if (grants === undefined) return -Errno.EPERM;
	if (owner !== domain.id && !grants.isUsedBy(domain.id, mfn)) return -Errno.EINVAL;
	// Invalidating a range without writing it back is nothing that an x86 can do.
	return op === CACHE_INVALIDATE ? -Errno.EOPNOTSUPP : 0;
}

function cacheFlush(vcpu: Vcpu, args: Arguments): HypercallResult {
	const count = args.low(2);
	let address = args.signed(1);
	if (!addressOk(address)) return -Errno.EFAULT;
	for (let done = 0; done < count; done++) {
		if (done === AT_ONCE) {
			args.setNumber(1, address);
			args.set(2, count - done, 0);
			return PREEMPTED;
		}
		if (!copyFromGuest(vcpu.domain.hypervisor, address, abi.cacheFlush.size)) return -Errno.EFAULT;
		const result = cacheFlushOne(vcpu);
		if (result < 0) return result;
		address += abi.cacheFlush.size;
	}
	return 0;
}

function grantTableOp(vcpu: Vcpu, args: Arguments): HypercallResult {
	const command = args.low(0) & COMMAND_MASK;
	const address = args.signed(1);
	const count = args.low(2);
	if (count > 0x7fff_ffff) return -Errno.EINVAL;
	if (command !== GrantOp.cacheFlush && args.low(0) !== command) return -Errno.EINVAL;
	const list = lists[command];
	if (list !== undefined) return runList(vcpu, args, list);
	switch (command) {
		case GrantOp.setupTable:
			return setupTable(vcpu, address, count);
		case GrantOp.querySize:
			return querySize(vcpu, address, count);
		case GrantOp.setVersion:
			return setVersion(vcpu, address);
		case GrantOp.getStatusFrames:
			return getStatusFrames(vcpu, address, count);
		case GrantOp.getVersion:
			return getVersion(vcpu, address);
		case GrantOp.cacheFlush:
			return cacheFlush(vcpu, args);
		default:
			return -Errno.ENOSYS;
	}
}

export const grantTableHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.grant_table_op,
		name: "grant_table_op",
		arguments: [
			{ name: "cmd", kind: "command", names: abi.grantOpNames },
			{ name: "uop", kind: "pointer" },
			{ name: "count", kind: "unsigned" },
		],
		handler: grantTableOp,
	},
];
