/**
 * Page-table entries, as two 32-bit halves: their bits, and what Xen allows a PV guest to set in them.
 *
 *   high 31  30 ... 20      19 ... 0 | low 31 ... 12   11 ... 9  8 7 6 5 4 3 2 1 0
 *        NX  for software   frame's number            software  G S D A C T U W P
 */
export const Pte = {
	present: 0x1,
	writable: 0x2,
	user: 0x4,
	writeThrough: 0x8,
	cacheDisable: 0x10,
	accessed: 0x20,
	dirty: 0x40,
	/** Page size in L2 and L3 entries, PAT in L1 entries. */
	pageSize: 0x80,
	global: 0x100,
} as const;
/** Bits of the high half. */
export const PTE_NX = 0x8000_0000;
/** Bit 52, which Xen sets in L1 entries of the guest's kernel: to the processor all of a PV guest is user. */
export const PTE_GUEST_KERNEL = 0x10_0000;
export const PTE_HIGH_FRAME = 0xf_ffff;

/** Low bits that an unprivileged guest may not set. Cache attributes are refused too, as from a domain without devices. */
export const L1_DISALLOWED = Pte.writeThrough | Pte.cacheDisable | Pte.pageSize;
export const UPPER_DISALLOWED = L1_DISALLOWED | Pte.global;

/** Bits that may change without taking new references: all but present, writable, cache attributes and the frame. */
export const FAST_LOW = 0xe00 | Pte.global | Pte.dirty | Pte.accessed | Pte.user;
export const FAST_HIGH = 0xfff0_0000;

export const ENTRIES = 512;
/** Slots of an L4 table that are the hypervisor's. */
export const FIRST_XEN_SLOT = 256;
export const LAST_XEN_SLOT = 271;

/** An entry's frame as a number; up to 40 bits, so it must still be compared with the machine's frames. */
export function pteFrame(low: number, high: number): number {
	return (high & PTE_HIGH_FRAME) * 0x10_0000 + (low >>> 12);
}

/**
 * The low half as Xen installs it in an L1 table: user and global for the guest's user pages, user for its kernel's, which are marked in
 * the high half ({@link adjustL1High}).
 */
export function adjustL1Low(low: number, high: number): number {
	if ((low & Pte.present) === 0) return low;
	if ((low & Pte.user) === 0 || (high & PTE_GUEST_KERNEL) !== 0) return low | Pte.user;
	return low | Pte.user | Pte.global;
}

/** The high half that belongs to {@link adjustL1Low}; both take the halves as the guest gave them. */
export function adjustL1High(low: number, high: number): number {
	return (low & (Pte.present | Pte.user)) === Pte.present ? (high | PTE_GUEST_KERNEL) >>> 0 : high;
}

/** What Xen adds to a present entry of an L2, L3 or L4 table. */
export function adjustUpper(level: number, low: number): number {
	if ((low & Pte.present) === 0) return low;
	return low | (level === 4 ? Pte.user | Pte.accessed : Pte.user);
}
