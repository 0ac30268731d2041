/**
 * A domain's mappings of other domains' grants (Xen's maptrack): a handle each, by which it unmaps them. The page-table entry of a
 * mapping holds the references that the grant table took for it.
 */
import { GrantStatus, MAP_GUEST_AVAIL_SHIFT, MapFlag } from "../abi/grant-table.ts";
import type { Domain } from "../domain.ts";
import { replaceL1Entry } from "../mm/entries.ts";
import { FrameType } from "../mm/frame-info.ts";
import { PTE_NX, Pte, pteFrame } from "../mm/pte.ts";
import { findL1Entry, tableOf } from "../mm/walk.ts";
import type { Vcpu } from "../vcpu.ts";
import type { GrantTable } from "./grants.ts";

interface Mapping {
	/** The granting domain's table; undefined where the handle is free. */
	table: GrantTable | undefined;
	ref: number;
	/** MapFlag bits that are still mapped, and how. */
	flags: number;
}

const PAGE_SIZE = 4096;
const MAPPED = MapFlag.hostMap | MapFlag.deviceMap;
/** Bits of a PTE that are the guest's to use: 9 to 11. */
const AVAILABLE_SHIFT = 9;
const AVAILABLE = 0xe00;

/** Low half of the entry that maps a grant; its high half has NX and the frame. */
function entryFlags(flags: number): number {
	return (
		Pte.present |
		Pte.accessed |
		Pte.dirty |
		((flags & MapFlag.applicationMap) !== 0 ? Pte.user : 0) |
		((flags & MapFlag.readonly) === 0 ? Pte.writable : 0) |
		(((flags >>> MAP_GUEST_AVAIL_SHIFT) << AVAILABLE_SHIFT) & AVAILABLE)
	);
}

export class GrantMappings {
	private readonly mappings: Mapping[] = [];
	private readonly free: number[] = [];

	constructor(
		private readonly domain: Domain,
		private readonly maximum: number,
	) {}

	/**
	 * GNTTABOP_map_grant_ref for the running vCPU.
	 * @returns a handle, or a (negative) GrantStatus; the frame's machine address is then {@link busAddress} of the handle.
	 */
	map(vcpu: Vcpu, hostAddress: number, flags: number, ref: number, domid: number): number {
		if ((flags & MAPPED) === 0) return GrantStatus.badGntref;
		const granter = this.domain.hypervisor.domains.get(domid);
		if (granter === undefined) return GrantStatus.badDomain;
		const table = granter.grants as GrantTable | undefined;
		// A service beside the hypervisor grants nothing: its table would be empty.
		if (table === undefined) return GrantStatus.generalError;
		if (this.free.length === 0 && this.mappings.length >= this.maximum) return GrantStatus.noSpace;
		const status = table.acquire(ref, this.domain.id, flags);
		if (status !== GrantStatus.okay) return status;
		if ((flags & MapFlag.hostMap) !== 0 && !this.install(vcpu, hostAddress, flags, table.frame[ref] as number)) {
			table.release(ref, flags);
			return GrantStatus.generalError;
		}
		const handle = this.free.pop() ?? this.mappings.length;
		const mapping = this.mappings[handle];
		if (mapping === undefined) {
			this.mappings[handle] = { table, ref, flags };
		} else {
			mapping.table = table;
			mapping.ref = ref;
			mapping.flags = flags;
		}
		return handle;
	}

	/** Machine address of the frame that a handle maps. */
	busAddress(handle: number): number {
		const mapping = this.mappings[handle];
		return mapping?.table === undefined ? 0 : (mapping.table.frame[mapping.ref] as number) * PAGE_SIZE;
	}

	/**
	 * GNTTABOP_unmap_grant_ref and, with a `newAddress` whose entry moves to the old place, unmap_and_replace. What of host and
	 * device mapping has an address is unmapped. @returns a GrantStatus
	 */
	unmap(vcpu: Vcpu, handle: number, hostAddress: number, busAddress: number, newAddress: number): number {
		const mapping = this.mappings[handle];
		if (mapping === undefined || mapping.table === undefined) return GrantStatus.badHandle;
		const { table, ref, flags } = mapping;
		const mfn = table.frame[ref] as number;
		if (busAddress !== 0 && busAddress !== mfn * PAGE_SIZE) return GrantStatus.generalError;
		let done = 0;
		if (hostAddress !== 0 && (flags & MapFlag.hostMap) !== 0) {
			if (!this.remove(vcpu, hostAddress, flags, mfn, newAddress)) return GrantStatus.generalError;
			done |= MapFlag.hostMap;
		}
		if (busAddress !== 0) done |= flags & MapFlag.deviceMap;
		mapping.flags = flags & ~done;
		if ((mapping.flags & MAPPED) === 0) {
			mapping.table = undefined;
			this.free.push(handle);
		}
		if (done !== 0) table.release(ref, done | (flags & MapFlag.readonly));
		return GrantStatus.okay;
	}

	/**
	 * The domain is gone, its page tables with it: gives back what is still mapped. The entries' own references went with the
	 * tables (mm/relinquish.ts), so only those of device mappings are left.
	 */
	destroy(): void {
		for (const mapping of this.mappings) {
			if (mapping.table === undefined) continue;
			mapping.table.abandon(mapping.ref, mapping.flags);
			mapping.table = undefined;
		}
		this.mappings.length = 0;
		this.free.length = 0;
	}

	/** Index in frames.words of the L1 entry that `address` means (a virtual address, or the entry's machine address); 0 where none. */
	private entryAt(vcpu: Vcpu, address: number, flags: number): number {
		const { frames } = this.domain.hypervisor;
		let entry: number;
		let table: number;
		if ((flags & MapFlag.containsPte) !== 0) {
			table = Math.floor(address / PAGE_SIZE);
			if (address < 0 || address % 8 !== 0 || !frames.exists(table)) return 0;
			entry = frames.entry(table, (address % PAGE_SIZE) / 8);
		} else {
			entry = findL1Entry(frames, vcpu.kernelRoot, address);
			if (entry === 0) return 0;
			table = tableOf(frames, entry);
		}
		if (frames.owner(table) !== this.domain.id || !frames.isValid(table, FrameType.l1)) return 0;
		return entry;
	}

	private install(vcpu: Vcpu, address: number, flags: number, mfn: number): boolean {
		const { frames } = this.domain.hypervisor;
		const entry = this.entryAt(vcpu, address, flags);
		if (entry === 0) return false;
		const low = ((mfn % 2 ** 20) * PAGE_SIZE + entryFlags(flags)) >>> 0;
		const high = (PTE_NX + Math.floor(mfn / 2 ** 20)) >>> 0;
		replaceL1Entry(frames, tableOf(frames, entry), entry, low, high);
		this.flush(address, flags);
		return true;
	}

	private remove(vcpu: Vcpu, address: number, flags: number, mfn: number, newAddress: number): boolean {
		const { frames } = this.domain.hypervisor;
		const { words } = frames;
		if (newAddress !== 0 && (flags & MapFlag.containsPte) !== 0) return false;
		const entry = this.entryAt(vcpu, address, flags);
		if (entry === 0) return false;
		const low = words[entry] as number;
		const high = words[entry + 1] as number;
		if (pteFrame(low, high) !== mfn) return false;
		if (((low ^ entryFlags(flags)) & (Pte.present | Pte.writable)) !== 0) return false;
		let newLow = 0;
		let newHigh = 0;
		if (newAddress !== 0) {
			const from = this.entryAt(vcpu, newAddress, 0);
			if (from === 0 || from === entry) return false;
			newLow = words[from] as number;
			newHigh = words[from + 1] as number;
			this.write(from, 0, 0);
			this.flush(newAddress, 0);
		}
		this.write(entry, newLow, newHigh);
		this.flush(address, flags);
		return true;
	}

	/** Writes an entry whose references move elsewhere, or are dropped by the caller. */
	private write(entry: number, low: number, high: number): void {
		const { frames } = this.domain.hypervisor;
		frames.contentsChange(tableOf(frames, entry));
		frames.words[entry] = low;
		frames.words[entry + 1] = high;
	}

	private flush(address: number, flags: number): void {
		const { frames, processor } = this.domain.hypervisor;
		if ((flags & MapFlag.containsPte) !== 0) frames.flushAll();
		else processor.flushPage(address);
	}
}
