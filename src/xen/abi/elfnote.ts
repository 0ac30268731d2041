/**
 * Xen's ELF notes: their numbers, names and kinds of value (public/elfnote.h), and the names of features (public/features.h).
 */

export const XEN_NOTE_OWNER = "Xen";

export const ElfNoteType = {
	info: 0,
	entry: 1,
	hypercallPage: 2,
	virtBase: 3,
	paddrOffset: 4,
	xenVersion: 5,
	guestOs: 6,
	guestVersion: 7,
	loader: 8,
	paeMode: 9,
	features: 10,
	bsdSymtab: 11,
	hvStartLow: 12,
	l1MfnValid: 13,
	suspendCancel: 14,
	initP2m: 15,
	modStartPfn: 16,
	supportedFeatures: 17,
	phys32Entry: 18,
	/** Since Xen 4.20. */
	phys32Reloc: 19,
} as const;

export interface ElfNoteDescription {
	/** Name without XEN_ELFNOTE_. */
	readonly name: string;
	/** `address` is shown in hexadecimal; `pairs` are mask/value words of 64 bits, `words` are of 32. */
	readonly kind: "string" | "number" | "address" | "pairs" | "words";
}

export const elfNoteDescriptions: Readonly<Record<number, ElfNoteDescription>> = {
	[ElfNoteType.info]: { name: "INFO", kind: "string" },
	[ElfNoteType.entry]: { name: "ENTRY", kind: "address" },
	[ElfNoteType.hypercallPage]: { name: "HYPERCALL_PAGE", kind: "address" },
	[ElfNoteType.virtBase]: { name: "VIRT_BASE", kind: "address" },
	[ElfNoteType.paddrOffset]: { name: "PADDR_OFFSET", kind: "address" },
	[ElfNoteType.xenVersion]: { name: "XEN_VERSION", kind: "string" },
	[ElfNoteType.guestOs]: { name: "GUEST_OS", kind: "string" },
	[ElfNoteType.guestVersion]: { name: "GUEST_VERSION", kind: "string" },
	[ElfNoteType.loader]: { name: "LOADER", kind: "string" },
	[ElfNoteType.paeMode]: { name: "PAE_MODE", kind: "string" },
	[ElfNoteType.features]: { name: "FEATURES", kind: "string" },
	[ElfNoteType.bsdSymtab]: { name: "BSD_SYMTAB", kind: "string" },
	[ElfNoteType.hvStartLow]: { name: "HV_START_LOW", kind: "address" },
	[ElfNoteType.l1MfnValid]: { name: "L1_MFN_VALID", kind: "pairs" },
	[ElfNoteType.suspendCancel]: { name: "SUSPEND_CANCEL", kind: "number" },
	[ElfNoteType.initP2m]: { name: "INIT_P2M", kind: "address" },
	[ElfNoteType.modStartPfn]: { name: "MOD_START_PFN", kind: "number" },
	[ElfNoteType.supportedFeatures]: { name: "SUPPORTED_FEATURES", kind: "address" },
	[ElfNoteType.phys32Entry]: { name: "PHYS32_ENTRY", kind: "address" },
	[ElfNoteType.phys32Reloc]: { name: "PHYS32_RELOC", kind: "words" },
};

/** XENFEAT_*: name of the bit with that number. */
export const featureNames: readonly string[] = [
	"writable_page_tables",
	"writable_descriptor_tables",
	"auto_translated_physmap",
	"supervisor_mode_kernel",
	"pae_pgdir_above_4gb",
	"mmu_pt_update_preserve_ad",
	"highmem_assist",
	"gnttab_map_avail_bits",
	"hvm_callback_vector",
	"hvm_safe_pvclock",
	"hvm_pirqs",
	"dom0",
	"grant_map_identity",
	"memory_op_vnode_supported",
	"ARM_SMCCC_supported",
	"linux_rsdp_unrestricted",
	"not_direct_mapped",
	"direct_mapped",
];
