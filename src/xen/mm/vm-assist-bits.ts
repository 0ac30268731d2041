/** VMASST_TYPE_* of public/xen.h, and how a domain's set of them is kept: as a number of up to 33 bits. */
export const VmAssist = {
	fourGigabyteSegments: 0,
	fourGigabyteSegmentsNotify: 1,
	writablePagetables: 2,
	paeExtendedCr3: 3,
	architecturalIopl: 4,
	runstateUpdateFlag: 5,
	m2pStrict: 32,
} as const;
export type VmAssist = (typeof VmAssist)[keyof typeof VmAssist];

/** Whether a domain has asked for an assistance. */
export function assisted(domain: { readonly vmAssist: number }, type: VmAssist): boolean {
	// No power of `type`: this is asked for each page that becomes a table.
	const half = type < 32 ? domain.vmAssist : domain.vmAssist / 2 ** 32;
	return ((half >>> (type & 31)) & 1) === 1;
}

/** Whether a new L4 table shows the M2P: with m2p_strict, until it is used for programs; without, from when it is used for the kernel. */
export function m2pVisibleByDefault(domain: { readonly vmAssist: number } | undefined): boolean {
	return domain !== undefined && assisted(domain, VmAssist.m2pStrict);
}
