/** public/io/blkif.h: the block protocol. Its structures differ with the guest's word size in where 64-bit fields are aligned. */
import { array, type FieldType, struct, u8, u16, u32, u64 } from "./struct.ts";

/** BLKIF_OP_* */
export const BlockOp = { read: 0, write: 1, writeBarrier: 2, flushDiskcache: 3, discard: 5, indirect: 6 } as const;

/** BLKIF_RSP_* */
export const BlockStatus = { okay: 0, error: -1, notSupported: -2 } as const;

/** VDISK_*: bits of the node `info`. */
export const DiskInfo = { cdrom: 1, removable: 2, readonly: 4 } as const;

/** BLKIF_DISCARD_SECURE, of a discard's `flag`. */
export const DISCARD_SECURE = 1;

/** BLKIF_MAX_SEGMENTS_PER_REQUEST, and the pages and segments of an indirect request. */
export const MAX_SEGMENTS = 11;
export const MAX_INDIRECT_PAGES = 8;

export const segment = struct({ gref: u32, firstSect: u8, lastSect: u8 });
export const SEGMENTS_PER_INDIRECT_PAGE = 4096 / segment.size;

/** XEN_IO_PROTO_ABI_*: the values of the node `protocol`. */
export type BlockProtocol = "x86_64-abi" | "x86_32-abi";

function layouts(wide: FieldType<number>) {
	const segments = array(segment, MAX_SEGMENTS);
	const grefs = array(u32, MAX_INDIRECT_PAGES);
	const head = { operation: u8, nrSegments: u8, handle: u16 };
	return {
		request: struct({ ...head, id: wide, sectorNumber: wide, seg: segments }),
		discard: struct({ operation: u8, flag: u8, handle: u16, id: wide, sectorNumber: wide, nrSectors: wide }),
		indirect: struct({
			operation: u8,
			indirectOp: u8,
			nrSegments: u16,
			id: wide,
			sectorNumber: wide,
			handle: u16,
			grefs,
		}),
		response: struct({ id: wide, operation: u8, status: u16 }),
	};
}

/** The structures of each protocol. */
export const blockLayouts = {
	"x86_64-abi": layouts(u64),
	"x86_32-abi": layouts({ ...u64, align: 4 }),
} as const satisfies Record<BlockProtocol, unknown>;
export type BlockLayout = (typeof blockLayouts)[BlockProtocol];
