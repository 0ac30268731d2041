/**
 * GNTTABOP_copy: bytes from one frame to another, each the caller's own or granted to it. A grant in use by copies counts like one that
 * is mapped. Version 2 grants may be of a part of a frame, or pass on what a third domain granted.
 */
import { PAGE_SIZE } from "../../memory/map.ts";
import { GrantFlag, GrantStatus, grantEntryV2 } from "../abi/grant-table.ts";
import type { Domain } from "../domain.ts";
import { FrameType } from "../mm/frame-info.ts";
import { type GrantTable, Pin } from "./grants.ts";

/** One side of a copy: what it may touch. */
export class CopyBuffer {
	/** Machine frame, and the bytes of it that are allowed. */
	mfn = 0;
	start = 0;
	length = 0;
	private table: GrantTable | undefined;
	private ref = 0;
	private readOnly = true;
	private held = false;
	private typed = false;

	/** Claims a frame of `domain`'s own. @returns a GrantStatus */
	claimFrame(domain: Domain, mfn: number, readOnly: boolean): number {
		if (!domain.hypervisor.frames.getPage(mfn, domain.id)) return GrantStatus.badPage;
		this.mfn = mfn;
		this.start = 0;
		this.length = PAGE_SIZE;
		this.held = true;
		return this.claimType(domain, readOnly);
	}

	/** Claims what `table`'s domain grants to `user` by `ref`. @returns a GrantStatus */
	claimGrant(table: GrantTable, ref: number, user: number, readOnly: boolean): number {
		const status = acquireForCopy(table, ref, user, readOnly, true);
		if (status !== GrantStatus.okay) return status;
		this.table = table;
		this.ref = ref;
		this.readOnly = readOnly;
		this.mfn = table.frame[ref] as number;
		this.start = table.start[ref] as number;
		this.length = table.length[ref] as number;
		this.held = true;
		return this.claimType(table.domain, readOnly);
	}

	/** Gives back whatever was claimed. */
	release(domain: Domain): void {
		const { frames } = domain.hypervisor;
		if (this.table !== undefined) releaseForCopy(this.table, this.ref, this.readOnly);
		if (this.typed) frames.putPageType(this.mfn);
		if (this.held) frames.putPage(this.mfn);
		this.table = undefined;
		this.typed = false;
		this.held = false;
	}

	private claimType(domain: Domain, readOnly: boolean): number {
		if (readOnly) return GrantStatus.okay;
		if (domain.hypervisor.frames.getPageType(this.mfn, FrameType.writable) !== 0) return GrantStatus.generalError;
		this.typed = true;
		return GrantStatus.okay;
	}
}

/** Copies `length` bytes between offsets of two claimed buffers. @returns a GrantStatus */
export function copyBetween(
	domain: Domain,
	source: CopyBuffer,
	sourceOffset: number,
	dest: CopyBuffer,
	destOffset: number,
	length: number,
): number {
	if (sourceOffset + length > PAGE_SIZE || destOffset + length > PAGE_SIZE) return GrantStatus.badCopyArg;
	if (sourceOffset < source.start || sourceOffset + length > source.start + source.length) {
		return GrantStatus.generalError;
	}
	if (destOffset < dest.start || destOffset + length > dest.start + dest.length) return GrantStatus.generalError;
	const { memory, frames } = domain.hypervisor;
	frames.contentsChange(dest.mfn);
	memory.copy(memory.frame(dest.mfn) + destOffset, memory.frame(source.mfn) + sourceOffset, length);
	return GrantStatus.okay;
}

/**
 * acquire_grant_for_copy of Xen: counts the use, and takes one reference to the frame.
 * @returns a GrantStatus; where okay, frame, start and length are in the table's active entry.
 */
function acquireForCopy(
	table: GrantTable,
	ref: number,
	user: number,
	readOnly: boolean,
	allowTransitive: boolean,
): number {
	if (ref >= table.entries) return GrantStatus.badGntref;
	const { memory, frames } = table.domain.hypervisor;
	const pins = table.pin[ref] as number;
	if (pins !== 0 && (table.user[ref] !== user || (pins & Pin.overflow) !== 0)) return GrantStatus.generalError;
	const flags = memory.u16(table.entry(ref));
	const check = pins === 0 || (!readOnly && (pins & Pin.writeMask) === 0);
	if (table.version === 2 && (flags & GrantFlag.typeMask) === GrantFlag.transitive) {
		const status = acquireTransitive(table, ref, user, readOnly, allowTransitive, check);
		if (status !== GrantStatus.okay) return status;
	} else if (check) {
		const status = table.setStatus(ref, user, readOnly, false);
		if (status !== GrantStatus.okay) return status;
		const entry = table.entry(ref);
		const subPage = table.version === 2 && (flags & GrantFlag.subPage) !== 0;
		const mfn = table.frameOf(ref);
		if (!frames.getPage(mfn, table.domain.id)) {
			table.clearStatus(ref, readOnly);
			return GrantStatus.badPage;
		}
		if (pins !== 0 && mfn !== table.frame[ref]) {
			// The guest has changed an entry in use: what counts is the frame that is in use.
			frames.putPage(mfn);
			if (!frames.getPage(table.frame[ref] as number, table.domain.id)) return GrantStatus.badPage;
		}
		if (pins === 0) {
			const start = subPage ? memory.u16(entry + grantEntryV2.offset.pageOff) : 0;
			const length = subPage ? memory.u16(entry + grantEntryV2.offset.length) : PAGE_SIZE;
			table.activate(ref, user, mfn, start, length, subPage, table.domain.id, ref);
		}
	} else if (!frames.getPage(table.frame[ref] as number, table.domain.id)) {
		return GrantStatus.badDomain;
	}
	table.pin[ref] = pins + (readOnly ? Pin.hostRead : Pin.hostWrite);
	return GrantStatus.okay;
}

/** A transitive grant: the grant that it passes on is taken into use by the domain that passes it on, once and no deeper. */
function acquireTransitive(
	table: GrantTable,
	ref: number,
	user: number,
	readOnly: boolean,
	allowed: boolean,
	check: boolean,
): number {
	if (check) {
		const status = table.setStatus(ref, user, readOnly, false);
		if (status !== GrantStatus.okay) return status;
	}
	const target = table.transitiveTarget(ref);
	const from = table.domain.hypervisor.domains.get(target.domid)?.grants;
	if (!allowed || from === undefined || from === table) {
		table.clearStatus(ref, readOnly);
		return GrantStatus.generalError;
	}
	const status = acquireForCopy(from, target.ref, table.domain.id, readOnly, false);
	if (status !== GrantStatus.okay) {
		table.clearStatus(ref, readOnly);
		return status;
	}
	const mfn = from.frame[target.ref] as number;
	if (table.pin[ref] === 0) {
		const start = from.start[target.ref] as number;
		// Always counts as a part of a frame: such a grant cannot be mapped.
		table.activate(ref, user, mfn, start, from.length[target.ref] as number, true, target.domid, target.ref);
		return GrantStatus.okay;
	}
	const same =
		table.frame[ref] === mfn && table.transitiveDomain[ref] === target.domid && table.transitiveRef[ref] === target.ref;
	if (same) return GrantStatus.okay;
	releaseForCopy(from, target.ref, readOnly);
	table.domain.hypervisor.frames.putPage(mfn);
	table.clearStatus(ref, readOnly);
	return GrantStatus.generalError;
}

/** Undoes {@link acquireForCopy}, but for the reference to the frame, which is the caller's. */
function releaseForCopy(table: GrantTable, ref: number, readOnly: boolean): void {
	table.pin[ref] = (table.pin[ref] as number) - (readOnly ? Pin.hostRead : Pin.hostWrite);
	table.clearStatus(ref, readOnly);
	if (table.transitiveDomain[ref] === table.domain.id) return;
	const from = table.domain.hypervisor.domains.get(table.transitiveDomain[ref] as number)?.grants;
	if (from !== undefined) releaseForCopy(from, table.transitiveRef[ref] as number, readOnly);
}
