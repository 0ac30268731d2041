/** public/io/9pfs.h: the shared page of a data ring of the 9P transport, and (public/io/ring.h) what a flexible ring is. */
import { array, bytes, struct, u32 } from "./struct.ts";

/** struct xen_9pfs_data_intf: free-running indices of both directions, then the pages of the ring. `in` is towards the guest. */
export const p9DataInterface = struct({
	inCons: u32,
	inProd: u32,
	pad1: bytes(56),
	outCons: u32,
	outProd: u32,
	pad2: bytes(56),
	ringOrder: u32,
	/** As many grant references as there are pages: 2^ringOrder. */
	ref: array(u32, 0),
});

/** Pages of a ring at the most, as a power of two: what QEMU offers, and all that Linux's front end asks for. */
export const P9_MAX_RING_ORDER = 9;
export const P9_MAX_RINGS = 8;

/** XEN_FLEX_RING_SIZE: bytes of each of the two directions of a ring of 2^order pages. */
export function flexRingSize(order: number): number {
	return 2 ** (order + 11);
}
