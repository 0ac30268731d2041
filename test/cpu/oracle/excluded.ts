/**
 * Instructions that cannot be compared with the host's processor, each with its reason. They have tests of their own elsewhere.
 */

const EXCLUDED: readonly (readonly [RegExp, string])[] = [
	[/^(syscall|sysenter|sysexit|sysret)/, "enters the host's kernel"],
	[/^(vmcall|vmmcall|vmfunc)$/, "enters the host's hypervisor"],
	[/^(cpuid|xgetbv)$/, "tells of the host what is not so here"],
	[/^(rdtscp?|rdpmc|rdpid)$/, "tells of the host what is not so here"],
	[/^(rdrand|rdseed)$/, "random"],
	[/^(sgdt|sidt|sldt|str|smsw)$/, "UMIP: Linux emulates or forbids it"],
	[/^(monitor|mwait|monitorx|mwaitx)$/, "depends on the host's settings"],
	[/^(xsave|xrstor)/, "the area's contents depend on the host's XCR0"],
	[/^(int1|icebp)$/, "a virtualised host reports its address differently"],
	[/^(fstpnce|fneni|fndisi|fnsetpm)$/, "no processor documents it"],
	[/^(rdpkru|wrpkru)$/, "depends on the host's settings"],
];

/** Why a mnemonic is not compared, or undefined where it is. */
export function excluded(name: string): string | undefined {
	return EXCLUDED.find(([pattern]) => pattern.test(name))?.[1];
}
