/**
 * Where our verdicts differ from the recorded ones on purpose: by guest and verdict, with the reason. The record is of Xen 4.17 on
 * QEMU 7.2's emulated processor, so some reasons are that processor's.
 */

interface Difference {
	readonly guest: string;
	/** Names of verdicts; a last "*" stands for any ending. */
	readonly verdicts: readonly string[];
	readonly reason: string;
}

const DIFFERENCES: readonly Difference[] = [
	{
		guest: "traps",
		verdicts: [
			...["bound", "int.1", "int.2", "int.8", "int.13", "int.14", "int.81", "int.82", "int.83", "int.84", "int.ff"],
			...["user.int.81", "user.int.82", "user.int.83", "user.int.84"],
		],
		reason:
			"QEMU 7.2 gives the #GP of INT n in 64-bit mode the error code n * 16 + 2 instead of n * 8 + 2 (SDM volume 3, 6.13), " +
			"so Xen there takes it for another vector",
	},
	{ guest: "traps", verdicts: ["icebp"], reason: "QEMU has no INT1 instruction (SDM volume 2): #UD" },
	{ guest: "traps", verdicts: ["simd.exception"], reason: "QEMU raises no SIMD floating-point exceptions" },
	{
		guest: "traps",
		verdicts: ["stack.not-canonical"],
		reason: "QEMU raises #GP where a stack access is not canonical; it is #SS (SDM volume 1, 3.3.7.1)",
	},
	{
		guest: "page-table-write-refused",
		verdicts: ["not-canonical.stack", "not-canonical.execute"],
		reason: "QEMU: as stack.not-canonical; and it finds a jump's target not canonical only after the jump",
	},
	{
		guest: "page-table-write-emulated",
		verdicts: ["not-canonical.stack", "not-canonical.execute"],
		reason: "QEMU: as stack.not-canonical; and it finds a jump's target not canonical only after the jump",
	},
	{
		guest: "mmu_update",
		verdicts: ["zero.byte"],
		reason: "QEMU reads before it writes; processors look up a read-modify-write's page as written",
	},
	{
		guest: "segments",
		verdicts: ["far.32-64", "far.32-64.cs"],
		reason: "QEMU lets a code segment with both L and D be loaded: #GP (SDM volume 2, RET)",
	},
	{
		guest: "traps",
		verdicts: [
			"user.smsw",
			"user.sgdt",
			"user.sldt",
			"user.str",
			"kernel.sgdt",
			"kernel.sidt",
			"kernel.sldt",
			"kernel.str",
		],
		reason: "UMIP is always on for our guests: what these tell is the machine's, and there is none behind it",
	},
	{
		guest: "iret",
		verdicts: ["ss.not-present"],
		reason: "QEMU raises #NP where the stack segment is not present: IRET's is #SS (SDM volume 2)",
	},
	{ guest: "emulation", verdicts: ["smsw"], reason: "UMIP, as in traps" },
	{
		guest: "emulation",
		verdicts: ["xgetbv"],
		reason: "the processor's CR4.OSXSAVE is the guest's own, not Xen's: XGETBV is #UD until the guest sets it",
	},
	{
		guest: "msr",
		verdicts: ["arch_capabilities.read"],
		reason: "QEMU's processor has the register, ours has not; CPUID tells of it in neither",
	},
	{
		guest: "xen_version",
		verdicts: ["capabilities.text+8"],
		reason: "real Xen there can also run HVM guests (hvm-3.0-... follows)",
	},
	{
		guest: "refused",
		verdicts: ["console_io.*"],
		reason: "ours is the verbose kind of build, in which guests' console_io lines go to the hypervisor's log",
	},
	{ guest: "hostile", verdicts: ["18"], reason: "console_io, as in refused" },
	{
		guest: "refused",
		verdicts: ["physdev_op.23"],
		reason: "get_free_pirq: ours has no physical interrupts to give",
	},
	{
		guest: "page-table-write-emulated",
		verdicts: ["sse"],
		reason: "Xen's emulator of stores to page tables knows no SSE; here the processor executes the instruction",
	},
	{
		guest: "page-table-write-refused",
		verdicts: ["hypervisor.linear"],
		reason: "nothing of ours is mapped in the hypervisor's area, so the fault is never one of protection",
	},
	{
		guest: "page-table-write-emulated",
		verdicts: ["hypervisor.linear"],
		reason: "nothing of ours is mapped in the hypervisor's area, so the fault is never one of protection",
	},
];

function matches(pattern: string, verdict: string): boolean {
	return pattern.endsWith("*") ? verdict.startsWith(pattern.slice(0, -1)) : verdict === pattern;
}

/** Whether a verdict is left out of the comparison. */
export function isDeliberate(guest: string, verdict: string): boolean {
	return namesOf(guest).some((name) => matches(name, verdict));
}

/** The table's names for a guest that stand for none of the verdicts that differ: they have no place in it any more. */
export function needlessNames(guest: string, differing: readonly string[]): string[] {
	return namesOf(guest).filter((name) => !differing.some((verdict) => matches(name, verdict)));
}

function namesOf(guest: string): string[] {
	return DIFFERENCES.flatMap((difference) => (difference.guest === guest ? difference.verdicts : []));
}
