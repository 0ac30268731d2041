/**
 * What a block request asks for, once it has been checked: its operation, range and pages. The slots are reused from request to
 * request; nothing is allocated for one.
 */
import {
	type BlockLayout,
	BlockOp,
	MAX_INDIRECT_PAGES,
	MAX_SEGMENTS,
	SEGMENTS_PER_INDIRECT_PAGE,
	segment,
} from "../../xen/abi/blkif.ts";
import type { GuestGrants } from "../xenbus/grants.ts";

const PAGE_SIZE = 4096;
/** Segments of Linux's requests at the most, unless xen_blkfront.max_indirect_segments says otherwise. */
const LARGE_REQUEST = 32;
/** Segments of an indirect request at the most: a megabyte, as Linux's blkback offers. */
export const MAX_INDIRECT_SEGMENTS = 256;

/** A request as it was taken from the ring: a private copy. */
export class RawRequest {
	readonly bytes: Uint8Array;
	readonly view: DataView;

	constructor(readonly layout: BlockLayout) {
		this.bytes = new Uint8Array(layout.request.size);
		this.view = new DataView(this.bytes.buffer);
	}

	get operation(): number {
		return this.view.getUint8(0);
	}

	/** Whether it has as many pages as Linux's front end puts into one request: then it is seldom the last of what the guest asks for. */
	get isLarge(): boolean {
		const { nrSegments } = this.layout.indirect.offset;
		return this.operation === BlockOp.indirect && this.view.getUint16(nrSegments, true) >= LARGE_REQUEST;
	}

	/** An unsigned 64-bit field: beyond 2^53 inexact, which is beyond every disk. */
	wide(offset: number): number {
		return this.view.getUint32(offset + 4, true) * 2 ** 32 + this.view.getUint32(offset, true);
	}
}

/** A request in progress. */
export class Pending {
	/** The front end's number of it, as it came: eight bytes. */
	readonly id = new Uint8Array(8);
	operation = 0;
	/** First byte on the disk, and bytes in all. */
	position = 0;
	length = 0;
	segments = 0;
	/** By segment: the page's grant, where the data begin in the page, their length, and the page's linear address once mapped. */
	readonly grefs = new Uint32Array(MAX_INDIRECT_SEGMENTS);
	readonly offsets = new Uint16Array(MAX_INDIRECT_SEGMENTS);
	readonly lengths = new Uint16Array(MAX_INDIRECT_SEGMENTS);
	readonly addresses = new Float64Array(MAX_INDIRECT_SEGMENTS);
	/** Whether the page is one of the connection's persistently mapped ones. */
	readonly kept = new Uint8Array(MAX_INDIRECT_SEGMENTS);
	/** The pages are not held: the request ends before the guest runs again. */
	momentary = false;
	private readonly indirect = new Uint8Array(SEGMENTS_PER_INDIRECT_PAGE * segment.size);
	private readonly indirectView = new DataView(this.indirect.buffer);

	/**
	 * Takes operation, range and segments of a read, write, barrier or flush, direct or indirect.
	 * @param sectorSize bytes of the sectors in which the front end counts
	 * @returns false where they make no sense or an indirect page is not granted
	 */
	parse(raw: RawRequest, sectorSize: number, grants: GuestGrants): boolean {
		const { layout, view, bytes } = raw;
		const indirect = raw.operation === BlockOp.indirect;
		const fields = indirect ? layout.indirect.offset : layout.request.offset;
		this.id.set(bytes.subarray(fields.id, fields.id + 8));
		this.position = raw.wide(fields.sectorNumber) * sectorSize;
		this.length = 0;
		this.segments = 0;
		if (indirect) return this.parseIndirect(raw, sectorSize, grants);
		this.operation = raw.operation;
		const count = view.getUint8(layout.request.offset.nrSegments);
		if (count > MAX_SEGMENTS) return false;
		return this.addSegments(view, layout.request.offset.seg, count, sectorSize);
	}

	private parseIndirect(raw: RawRequest, sectorSize: number, grants: GuestGrants): boolean {
		const { view } = raw;
		const { offset } = raw.layout.indirect;
		this.operation = view.getUint8(offset.indirectOp);
		if (this.operation !== BlockOp.read && this.operation !== BlockOp.write) return false;
		const count = view.getUint16(offset.nrSegments, true);
		if (count > MAX_INDIRECT_SEGMENTS) return false;
		for (let page = 0; page < MAX_INDIRECT_PAGES && this.segments < count; page++) {
			const some = Math.min(count - this.segments, SEGMENTS_PER_INDIRECT_PAGE);
			const copy = this.indirect.subarray(0, some * segment.size);
			if (!grants.read(view.getUint32(offset.grefs + page * 4, true), 0, copy)) return false;
			if (!this.addSegments(this.indirectView, 0, some, sectorSize)) return false;
		}
		return true;
	}

	private addSegments(view: DataView, at: number, count: number, sectorSize: number): boolean {
		for (let index = 0; index < count; index++) {
			const from = at + index * segment.size;
			const first = view.getUint8(from + segment.offset.firstSect);
			const last = view.getUint8(from + segment.offset.lastSect);
			if (first > last || (last + 1) * sectorSize > PAGE_SIZE) return false;
			const slot = this.segments++;
			this.grefs[slot] = view.getUint32(from + segment.offset.gref, true);
			this.offsets[slot] = first * sectorSize;
			const length = (last - first + 1) * sectorSize;
			this.lengths[slot] = length;
			this.length += length;
		}
		return true;
	}
}
