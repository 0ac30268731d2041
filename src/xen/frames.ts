/**
 * Machine frames: who owns each, what it may be used for, and how often it is. The rules are Xen's (public/xen.h, and the
 * page types of its memory management): a frame is at any time of one type, and a type is held while anything uses it.
 */
export interface FrameTable {
	/** Takes a zeroed frame for `owner` (a domain id), or undefined where the machine has none left. */
	allocate(owner: number): number | undefined;
	/** The owner's domain id, or undefined. */
	owner(mfn: number): number | undefined;
}
