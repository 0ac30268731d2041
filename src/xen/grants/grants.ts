/**
 * Grant tables (public/grant_table.h): what a domain lets others do with its frames. Entries live in frames that the guest writes
 * at any time; each is read once where it is acted on, and what it said then is kept in the table of active entries for as long as
 * the grant is in use. Mappings by guests are in grant-mappings.ts, copies in grant-copy.ts, the hypercall in hypercalls/grant-table.ts.
 */
import { PAGE_SIZE } from "../../memory/map.ts";
import {
	GrantFlag,
	GrantStatus,
	grantEntryV1,
	grantEntryV2,
	MapFlag,
	RESERVED_ENTRIES,
	TRANS_DOMID,
	TRANS_GREF,
} from "../abi/grant-table.ts";
import type { Domain } from "../domain.ts";
import { FrameType } from "../mm/frame-info.ts";
import { GrantMappings } from "./mappings.ts";

/** Counts of a grant's uses, a byte each, in the order of Xen's active_grant_entry.pin. */
export const Pin = {
	hostWrite: 0x1,
	hostRead: 0x100,
	deviceWrite: 0x1_0000,
	deviceRead: 0x100_0000,
	writeMask: 0x00ff_00ff,
	/** A count that reached this is not increased any more. */
	overflow: 0x8080_8080,
} as const;

export interface GrantTableOptions {
	/** Frames of the table at the most (xl's max_grant_frames). */
	readonly maximumFrames?: number;
	/** Mappings of other domains' grants at the most. */
	readonly maximumMappings?: number;
}

/** opt_max_grant_frames and opt_max_maptrack_frames of Xen. */
const DEFAULT_FRAMES = 64;
const DEFAULT_MAPPINGS = 1024 * 256;
const V1_PER_FRAME = PAGE_SIZE / grantEntryV1.size;
const V2_PER_FRAME = PAGE_SIZE / grantEntryV2.size;
const STATUS_PER_FRAME = PAGE_SIZE / 2;

/** Why a version cannot be changed. */
export type VersionError = "busy" | "range" | "memory";

/** A frame of another domain, mapped for a service. */
export interface GrantMapping {
	/** Linear address of the frame. */
	readonly address: number;
	readonly readOnly: boolean;
	/** Gives the grant back; once. */
	unmap(): void;
}

export class GrantTable {
	version: 1 | 2 = 1;
	/** Machine frames of the entries and, in version 2, of their statuses. */
	readonly frames: number[] = [];
	readonly statusFrames: number[] = [];
	readonly maximumFrames: number;
	/** This domain's mappings of others' grants. */
	readonly mappings: GrantMappings;

	/** Active entries by reference, a column an array: uses (Pin), by whom, and of what. */
	pin = new Uint32Array(0);
	user = new Uint16Array(0);
	frame = new Float64Array(0);
	start = new Uint16Array(0);
	length = new Uint32Array(0);
	subPage = new Uint8Array(0);
	transitiveDomain = new Uint16Array(0);
	transitiveRef = new Uint32Array(0);

	constructor(
		readonly domain: Domain,
		options: GrantTableOptions = {},
	) {
		this.maximumFrames = options.maximumFrames ?? DEFAULT_FRAMES;
		this.mappings = new GrantMappings(domain, options.maximumMappings ?? DEFAULT_MAPPINGS);
		this.grow(1);
	}

	/** Entries that the table has now. */
	get entries(): number {
		return this.frames.length * (this.version === 1 ? V1_PER_FRAME : V2_PER_FRAME);
	}

	/** Entries that somebody maps or copies from. */
	get inUse(): number {
		return this.pin.reduce((sum, pins) => sum + (pins === 0 ? 0 : 1), 0);
	}

	/** Linear address of an entry; the reference is below {@link entries}. */
	entry(ref: number): number {
		const { memory } = this.domain.hypervisor;
		if (this.version === 1) {
			const frame = this.frames[Math.floor(ref / V1_PER_FRAME)] as number;
			return memory.frame(frame) + (ref % V1_PER_FRAME) * grantEntryV1.size;
		}
		const frame = this.frames[Math.floor(ref / V2_PER_FRAME)] as number;
		return memory.frame(frame) + (ref % V2_PER_FRAME) * grantEntryV2.size;
	}

	/** Linear address of the u16 with GTF_reading and GTF_writing: the flags themselves in version 1. */
	status(ref: number): number {
		if (this.version === 1) return this.entry(ref);
		const frame = this.statusFrames[Math.floor(ref / STATUS_PER_FRAME)] as number;
		return this.domain.hypervisor.memory.frame(frame) + (ref % STATUS_PER_FRAME) * 2;
	}

	/** Makes the table at least `count` frames long. @returns false where it may not be, or memory is short. */
	grow(count: number): boolean {
		if (count > this.maximumFrames) return false;
		const { frames } = this.domain.hypervisor;
		while (this.frames.length < count) {
			const mfn = frames.allocateShared(this.domain.id);
			if (mfn === undefined) return false;
			this.frames.push(mfn);
		}
		if (this.version === 2 && !this.growStatus()) return false;
		this.growActive(this.frames.length * V1_PER_FRAME);
		return true;
	}

	/** The builder's grant to a service: a whole frame, in one of the reserved entries. */
	seed(ref: number, domid: number, mfn: number): void {
		const { memory } = this.domain.hypervisor;
		const entry = this.entry(ref);
		memory.setU32(entry + grantEntryV1.offset.frame, mfn);
		memory.setU16(entry + grantEntryV1.offset.domid, domid);
		memory.setU16(entry, GrantFlag.permitAccess);
	}

	/**
	 * Takes a grant into use for domain `user` as MapFlag bits say, with the references to its frame that mapping it needs.
	 * @returns a GrantStatus; where okay, the frame is `this.frame[ref]`, and {@link release} gives it back.
	 */
	acquire(ref: number, user: number, flags: number): number {
		if (ref >= this.entries) return GrantStatus.badGntref;
		const readOnly = (flags & MapFlag.readonly) !== 0;
		const pins = this.pin[ref] as number;
		if (pins !== 0 && (this.user[ref] !== user || (pins & Pin.overflow) !== 0 || this.subPage[ref] !== 0)) {
			return GrantStatus.generalError;
		}
		if (pins === 0 || (!readOnly && (pins & Pin.writeMask) === 0)) {
			const status = this.setStatus(ref, user, readOnly, true);
			if (status !== GrantStatus.okay) return status;
		}
		const { frames } = this.domain.hypervisor;
		const mfn = pins === 0 ? this.frameOf(ref) : (this.frame[ref] as number);
		if (pins === 0 && !frames.getPage(mfn, this.domain.id)) {
			this.clearStatus(ref, readOnly);
			return GrantStatus.badPage;
		}
		const held = this.holdFrame(mfn, flags);
		if (pins === 0) frames.putPage(mfn);
		if (!held) {
			this.clearStatus(ref, readOnly);
			return GrantStatus.generalError;
		}
		if (pins === 0) this.activate(ref, user, mfn, 0, PAGE_SIZE, false, this.domain.id, ref);
		this.pin[ref] = pins + pinsOf(flags);
		return GrantStatus.okay;
	}

	/**
	 * The frame of a grant that domain `user` uses now and no longer than until the guest runs again: nothing is held, and nothing to be given back.
	 * @returns -1 where it is not granted so
	 */
	momentary(ref: number, user: number, readOnly: boolean): number {
		const { frames, memory } = this.domain.hypervisor;
		if (this.version === 1 && ref < this.entries && this.pin[ref] === 0) {
			const { offset } = grantEntryV1;
			const entry = this.entry(ref);
			const flags = memory.u16(entry);
			const mfn = memory.u32(entry + offset.frame);
			const refused = GrantFlag.typeMask | GrantFlag.subPage | (readOnly ? 0 : GrantFlag.readonly);
			const granted = (flags & refused) === GrantFlag.permitAccess && memory.u16(entry + offset.domid) === user;
			const fits = frames.isOwned(mfn, this.domain.id) && (readOnly || frames.isValid(mfn, FrameType.writable));
			if (granted && fits) return mfn;
		}
		// Whatever is unusual, as if it were for longer; a frame becomes a writable one by this.
		const flags = MapFlag.hostMap | (readOnly ? MapFlag.readonly : 0);
		if (this.acquire(ref, user, flags) !== GrantStatus.okay) return -1;
		const mfn = this.frame[ref] as number;
		this.release(ref, flags);
		return mfn;
	}

	/** Gives back what {@link acquire} took: `flags` are its bits, or those of a part of them and GNTMAP_readonly. */
	release(ref: number, flags: number): void {
		const { frames } = this.domain.hypervisor;
		const mfn = this.frame[ref] as number;
		const readOnly = (flags & MapFlag.readonly) !== 0;
		for (let uses = (flags & 1) + ((flags >>> 1) & 1); uses > 0; uses--) {
			if (readOnly) frames.putPage(mfn);
			else frames.putPageAndType(mfn);
		}
		this.pin[ref] = (this.pin[ref] as number) - pinsOf(flags);
		this.clearStatus(ref, readOnly);
	}

	/** Like {@link release} where the mapping's own reference is gone already, with the page table that held it. */
	abandon(ref: number, flags: number): void {
		const { frames } = this.domain.hypervisor;
		const mfn = this.frame[ref] as number;
		const readOnly = (flags & MapFlag.readonly) !== 0;
		if ((flags & MapFlag.deviceMap) !== 0) {
			if (readOnly) frames.putPage(mfn);
			else frames.putPageAndType(mfn);
		}
		this.pin[ref] = (this.pin[ref] as number) - pinsOf(flags);
		this.clearStatus(ref, readOnly);
	}

	/**
	 * Maps a grant for a service of domain `user`, which is not a guest and has no page tables.
	 * @returns the mapping, or a GrantStatus.
	 */
	map(user: number, ref: number, readOnly: boolean): GrantMapping | number {
		const flags = MapFlag.hostMap | (readOnly ? MapFlag.readonly : 0);
		const status = this.acquire(ref, user, flags);
		if (status !== GrantStatus.okay) return status;
		let mapped = true;
		return {
			address: this.domain.hypervisor.memory.frame(this.frame[ref] as number),
			readOnly,
			unmap: () => {
				if (mapped) this.release(ref, flags);
				mapped = false;
			},
		};
	}

	/**
	 * _set_status of Xen: checks what the entry says and marks it as being read or written. `mapping` refuses sub-page and transitive grants.
	 * A grant in use already is only checked for being writable.
	 */
	setStatus(ref: number, user: number, readOnly: boolean, mapping: boolean): number {
		const { memory } = this.domain.hypervisor;
		const entry = this.entry(ref);
		const flags = memory.u16(entry);
		if (this.pin[ref] === 0) {
			const type = flags & (GrantFlag.typeMask | (mapping ? GrantFlag.subPage : 0));
			const passedOn = this.version === 2 && !mapping && type === GrantFlag.transitive;
			const allowed = type === GrantFlag.permitAccess || passedOn;
			if (!allowed || memory.u16(entry + grantEntryV1.offset.domid) !== user) return GrantStatus.generalError;
		}
		if (!readOnly && (flags & GrantFlag.readonly) !== 0) return GrantStatus.generalError;
		const status = this.status(ref);
		const use = readOnly ? GrantFlag.reading : GrantFlag.reading | GrantFlag.writing;
		memory.setU16(status, memory.u16(status) | use);
		return GrantStatus.okay;
	}

	/** Takes GTF_reading and GTF_writing back as far as the remaining uses allow. */
	clearStatus(ref: number, readOnly: boolean): void {
		const pins = this.pin[ref] as number;
		let clear = pins === 0 ? GrantFlag.reading : 0;
		if (!readOnly && (pins & Pin.writeMask) === 0) clear |= GrantFlag.writing;
		// A domain that is gone has no entries any more.
		if (clear === 0 || ref >= this.entries) return;
		const { memory } = this.domain.hypervisor;
		const status = this.status(ref);
		memory.setU16(status, memory.u16(status) & ~clear);
	}

	/** Remembers what a grant that was not in use said. */
	activate(
		ref: number,
		user: number,
		mfn: number,
		start: number,
		length: number,
		subPage: boolean,
		domain: number,
		transitiveRef: number,
	): void {
		this.user[ref] = user;
		this.frame[ref] = mfn;
		this.start[ref] = start;
		this.length[ref] = length;
		this.subPage[ref] = subPage ? 1 : 0;
		this.transitiveDomain[ref] = domain;
		this.transitiveRef[ref] = transitiveRef;
	}

	/** The frame that an entry of type permit_access names. */
	frameOf(ref: number): number {
		const { memory } = this.domain.hypervisor;
		const entry = this.entry(ref);
		return this.version === 1
			? memory.u32(entry + grantEntryV1.offset.frame)
			: memory.u64(entry + grantEntryV2.offset.frame);
	}

	/** Domain and reference that a transitive entry (version 2) passes on. */
	transitiveTarget(ref: number): { readonly domid: number; readonly ref: number } {
		const { memory } = this.domain.hypervisor;
		const entry = this.entry(ref);
		return { domid: memory.u16(entry + TRANS_DOMID), ref: memory.u32(entry + TRANS_GREF) };
	}

	/** Whether a grant of frame `mfn` is in use by a domain. */
	isUsedBy(user: number, mfn: number): boolean {
		for (let ref = 0; ref < this.entries; ref++) {
			if (this.pin[ref] !== 0 && this.user[ref] === user && this.frame[ref] === mfn) return true;
		}
		return false;
	}

	/** GNTTABOP_set_version: changes the layout of the entries; all but the reserved ones are lost, and none of those may be in use. */
	setVersion(version: 1 | 2): VersionError | undefined {
		if (version === this.version) return undefined;
		for (let ref = RESERVED_ENTRIES; ref < this.entries; ref++) if (this.pin[ref] !== 0) return "busy";
		const reserved = this.readReserved();
		if (reserved === undefined) return "range";
		const { memory, frames } = this.domain.hypervisor;
		if (version === 2) {
			if (!this.growStatus()) return "memory";
		} else {
			// A status frame that the guest still maps must stay what it is.
			if (this.statusFrames.some((mfn) => frames.references(mfn) > 2)) return "busy";
			for (const mfn of this.statusFrames) frames.releaseShared(mfn);
			this.statusFrames.length = 0;
		}
		for (const mfn of this.frames) memory.fill(memory.frame(mfn), PAGE_SIZE, 0);
		this.version = version;
		this.writeReserved(reserved);
		return undefined;
	}

	/** The domain is gone: gives back its mappings of others' grants, and the table's frames. */
	destroy(): void {
		this.mappings.destroy();
		const { frames } = this.domain.hypervisor;
		for (const mfn of this.frames) frames.releaseShared(mfn);
		for (const mfn of this.statusFrames) frames.releaseShared(mfn);
		this.frames.length = 0;
		this.statusFrames.length = 0;
	}

	/** A reference, and where writable a use as that, for each of host and device mapping. */
	private holdFrame(mfn: number, flags: number): boolean {
		const { frames } = this.domain.hypervisor;
		const readOnly = (flags & MapFlag.readonly) !== 0;
		const uses = (flags & 1) + ((flags >>> 1) & 1);
		for (let use = 0; use < uses; use++) {
			const held = readOnly ? frames.getPage(mfn, this.domain.id) : frames.getWritable(mfn, this.domain.id);
			if (held) continue;
			for (; use > 0; use--) {
				if (readOnly) frames.putPage(mfn);
				else frames.putPageAndType(mfn);
			}
			return false;
		}
		return true;
	}

	/** The eight reserved entries as (flags, domid, frame), or undefined where version 1 could not hold one of them. */
	private readReserved(): { flags: number; domid: number; frame: number }[] | undefined {
		const { memory } = this.domain.hypervisor;
		const entries: { flags: number; domid: number; frame: number }[] = [];
		for (let ref = 0; ref < RESERVED_ENTRIES; ref++) {
			const entry = this.entry(ref);
			const flags = memory.u16(entry);
			const domid = memory.u16(entry + grantEntryV1.offset.domid);
			const frame = this.frameOf(ref);
			if (this.version === 1) {
				entries.push({ flags, domid, frame });
				continue;
			}
			const type = flags & GrantFlag.typeMask;
			if (type === GrantFlag.transitive || (type === GrantFlag.permitAccess && frame >= 2 ** 32)) return undefined;
			const kept = type === GrantFlag.permitAccess;
			entries.push(
				kept ? { flags: flags | memory.u16(this.status(ref)), domid, frame } : { flags: 0, domid: 0, frame: 0 },
			);
		}
		return entries;
	}

	private writeReserved(entries: readonly { flags: number; domid: number; frame: number }[]): void {
		const { memory } = this.domain.hypervisor;
		const uses = GrantFlag.reading | GrantFlag.writing;
		entries.forEach(({ flags, domid, frame }, ref) => {
			const entry = this.entry(ref);
			memory.setU16(entry + grantEntryV1.offset.domid, domid);
			if (this.version === 1) {
				memory.setU16(entry, flags);
				memory.setU32(entry + grantEntryV1.offset.frame, frame);
				return;
			}
			memory.setU16(this.status(ref), flags & uses);
			memory.setU16(entry, flags & ~uses);
			memory.setU64(entry + grantEntryV2.offset.frame, frame);
		});
	}

	private growStatus(): boolean {
		const { frames } = this.domain.hypervisor;
		const needed = Math.ceil((this.frames.length * V2_PER_FRAME) / STATUS_PER_FRAME);
		while (this.statusFrames.length < needed) {
			const mfn = frames.allocateShared(this.domain.id);
			if (mfn === undefined) return false;
			this.statusFrames.push(mfn);
		}
		return true;
	}

	private growActive(count: number): void {
		if (count <= this.pin.length) return;
		const grow = <T extends { set(from: T): void }>(to: T, from: T): T => {
			to.set(from);
			return to;
		};
		this.pin = grow(new Uint32Array(count), this.pin);
		this.user = grow(new Uint16Array(count), this.user);
		this.frame = grow(new Float64Array(count), this.frame);
		this.start = grow(new Uint16Array(count), this.start);
		this.length = grow(new Uint32Array(count), this.length);
		this.subPage = grow(new Uint8Array(count), this.subPage);
		this.transitiveDomain = grow(new Uint16Array(count), this.transitiveDomain);
		this.transitiveRef = grow(new Uint32Array(count), this.transitiveRef);
	}
}

/** What MapFlag bits add to the counts. */
export function pinsOf(flags: number): number {
	const readOnly = (flags & MapFlag.readonly) !== 0;
	let pins = 0;
	if ((flags & MapFlag.hostMap) !== 0) pins += readOnly ? Pin.hostRead : Pin.hostWrite;
	if ((flags & MapFlag.deviceMap) !== 0) pins += readOnly ? Pin.deviceRead : Pin.deviceWrite;
	return pins;
}
