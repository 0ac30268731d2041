/**
 * The order of Linux's paravirt operations (struct paravirt_patch_template): the number of an operation in a patch site is its place in
 * it. The order changes between releases, so there is one table a layout; a layout is known by its number of operations.
 */

/** A group of operations of one structure of the template. */
const CPU = [
	"io_delay",
	"get_debugreg",
	"set_debugreg",
	"read_cr0",
	"write_cr0",
	"write_cr4",
	"load_tr_desc",
	"load_gdt",
	"load_idt",
	"set_ldt",
	"store_tr",
	"load_tls",
	"load_gs_index",
	"write_ldt_entry",
	"write_gdt_entry",
	"write_idt_entry",
	"alloc_ldt",
	"free_ldt",
	"load_sp0",
	"invalidate_io_bitmap",
	"update_io_bitmap",
	"wbinvd",
	"cpuid",
	"read_msr",
	"write_msr",
	"read_msr_safe",
	"write_msr_safe",
	"read_pmc",
	"start_context_switch",
	"end_context_switch",
];
const IRQ = ["save_fl", "irq_disable", "irq_enable", "safe_halt", "halt"];
const TLB = [
	"flush_tlb_user",
	"flush_tlb_kernel",
	"flush_tlb_one_user",
	"flush_tlb_multi",
	"tlb_remove_table",
	"exit_mmap",
	"notify_page_enc_status_changed",
	"read_cr2",
	"write_cr2",
	"read_cr3",
	"write_cr3",
];
const LAZY_MODE = ["lazy_mode.enter", "lazy_mode.leave", "lazy_mode.flush"];
const PAGE_TABLES = [
	"pgd_alloc",
	"pgd_free",
	"alloc_pte",
	"alloc_pmd",
	"alloc_pud",
	"alloc_p4d",
	"release_pte",
	"release_pmd",
	"release_pud",
	"release_p4d",
	"set_pte",
	"set_pmd",
	"ptep_modify_prot_start",
	"ptep_modify_prot_commit",
	"pte_val",
	"make_pte",
	"pgd_val",
	"make_pgd",
	"set_pud",
	"pmd_val",
	"make_pmd",
	"pud_val",
	"make_pud",
	"set_p4d",
	"p4d_val",
	"make_p4d",
	"set_pgd",
	...LAZY_MODE,
	"set_fixmap",
];
const LOCK = ["queued_spin_lock_slowpath", "queued_spin_unlock", "wait", "kick", "vcpu_is_preempted"];

const prefixed = (prefix: string, names: readonly string[]): string[] => names.map((name) => `${prefix}.${name}`);

const without = (names: readonly string[], gone: readonly string[]): string[] =>
	names.filter((name) => !gone.includes(name));

export interface OperationLayout {
	readonly name: string;
	/** Of pv_ops. */
	readonly operations: readonly string[];
	/** Of pv_ops_lock, where the release has that: it lies somewhere behind pv_ops. */
	readonly lockOperations?: readonly string[];
}

/**
 * Names for the operations with these numbers, which count pointers from the start of pv_ops; undefined where no known layout fits.
 * A layout fits where its last operation is the last one used - that one always is - and none is between its structures.
 */
export function findLayout(
	numbers: readonly number[],
): { readonly name: string; readonly nameOf: (operation: number) => string | undefined } | undefined {
	const used = Math.max(...numbers) + 1;
	for (const { name, operations, lockOperations = [] } of operationLayouts) {
		const lockAt = used - lockOperations.length;
		const apart = lockOperations.length > 0;
		if (apart ? lockAt <= operations.length : lockAt !== operations.length) continue;
		if (numbers.some((number) => number >= operations.length && number < lockAt)) continue;
		return { name, nameOf: (operation) => operations[operation] ?? lockOperations[operation - lockAt] };
	}
	return undefined;
}

/** 64-bit kernels with CONFIG_PARAVIRT_XXL, five-level page tables and I/O permission bitmaps, as distributions build them. */
export const operationLayouts: readonly OperationLayout[] = [
	{
		name: "Linux 6.1",
		operations: [
			...prefixed("cpu", CPU),
			...prefixed("irq", IRQ),
			...prefixed("mmu", [...TLB, "activate_mm", "dup_mmap", ...PAGE_TABLES]),
			...prefixed("lock", LOCK),
		],
	},
	{
		name: "Linux 6.12",
		operations: [
			...prefixed("cpu", CPU),
			...prefixed("irq", IRQ),
			...prefixed("mmu", [...TLB, "enter_mmap", ...PAGE_TABLES]),
			...prefixed("lock", LOCK),
		],
	},
	{
		name: "Linux 7.2",
		operations: [
			...prefixed("cpu", without(CPU, ["io_delay", "wbinvd"])),
			...prefixed("irq", IRQ),
			...prefixed("mmu", [
				...without(TLB, ["tlb_remove_table"]),
				"enter_mmap",
				...without(PAGE_TABLES, [...LAZY_MODE, "set_fixmap"]),
				"lazy_mode_flush",
				"set_fixmap",
			]),
		],
		lockOperations: prefixed("lock", LOCK),
	},
];
