/**
 * Model-specific registers of a PV guest: a table of who may read and write what, as Xen 4.17 answers its PV guests on an Intel
 * processor. A register that is not here is #GP both ways, which Linux's rdmsr_safe expects.
 */
import { EFER, TSC_AUX } from "../../cpu/layout.ts";
import { Segment } from "../../cpu/registers.ts";
import type { Vcpu } from "../vcpu.ts";

/** A 64-bit value; one object serves every access. */
export interface MsrValue {
	low: number;
	high: number;
}

interface Msr {
	readonly name: string;
	/** Gives the value, or false for #GP. Absent: not readable. */
	readonly read?: (vcpu: Vcpu, value: MsrValue) => boolean;
	/** Takes the value, or false for #GP. Absent: not writable. */
	readonly write?: (vcpu: Vcpu, value: MsrValue) => boolean;
}

function reads(low: number, high = 0): NonNullable<Msr["read"]> {
	return (_vcpu, value) => {
		value.low = low;
		value.high = high;
		return true;
	};
}

function setNumber(value: MsrValue, number: number): true {
	const high = Math.floor(number / 2 ** 32);
	value.low = (number - high * 2 ** 32) >>> 0;
	value.high = high >>> 0;
	return true;
}

/** The value as a virtual address, or undefined where it is not canonical. */
function canonical(value: MsrValue): number | undefined {
	const top = (value.high | 0) >> 15;
	return top === 0 || top === -1 ? (value.high | 0) * 2 ** 32 + value.low : undefined;
}

function zeroOnly(_vcpu: Vcpu, value: MsrValue): boolean {
	return value.low === 0 && value.high === 0;
}

/** Xen takes the write and does nothing: what the guest would tune is the host's. */
function ignored(): boolean {
	return true;
}

/** Fast strings; branch trace, event sampling and xTPR messages not available. */
const MISC_ENABLE = (1 << 0) | (1 << 11) | (1 << 12) | (1 << 23);
const MCG_SOFTWARE_RECOVERY = 1 << 24;
const MCG_THRESHOLD_STATUS = 1 << 11;
const APIC_ENABLED_AT_DEFAULT = 0xfee0_0800;
const APIC_BOOT_PROCESSOR = 0x100;

const MSRS = new Map<number, Msr>([
	[
		0x10,
		{
			name: "TSC",
			read: (vcpu, value) => setNumber(value, vcpu.domain.hypervisor.clock.tsc()),
		},
	],
	// The machine-check registers of a Pentium: Linux reads them on processors of any age.
	[0x00, { name: "P5_MC_ADDR", read: reads(0) }],
	[0x01, { name: "P5_MC_TYPE", read: reads(0) }],
	[0x17, { name: "PLATFORM_ID", read: reads(0) }],
	[
		0x1b,
		{
			name: "APIC_BASE",
			read: (vcpu, value) => setNumber(value, APIC_ENABLED_AT_DEFAULT + (vcpu.id === 0 ? APIC_BOOT_PROCESSOR : 0)),
		},
	],
	// Locked, nothing enabled.
	[0x3a, { name: "FEATURE_CONTROL", read: reads(1) }],
	// Intel: 0 is written before the revision is read.
	[0x8b, { name: "UCODE_REV", read: reads(0), write: zeroOnly }],
	[0xce, { name: "PLATFORM_INFO", read: reads(0) }],
	[0xe7, { name: "MPERF", write: ignored }],
	[0xe8, { name: "APERF", write: ignored }],
	[0x140, { name: "MISC_FEATURES_ENABLES", read: reads(0), write: zeroOnly }],
	[0x198, { name: "PERF_STATUS", read: reads(0) }],
	[0x199, { name: "PERF_CTL", read: reads(0), write: ignored }],
	[0x19a, { name: "THERM_CONTROL", write: ignored }],
	[0x19c, { name: "THERM_STATUS", read: reads(0) }],
	// Other values are refused with a line in Xen's log, not with a fault.
	[0x1a0, { name: "MISC_ENABLE", read: reads(MISC_ENABLE), write: ignored }],
	[0x1b0, { name: "ENERGY_PERF_BIAS", write: ignored }],
	// Xen's own page attributes: WB, WT, UC-, UC, WC, WP, UC, UC.
	[0x277, { name: "PAT", read: reads(0x0007_0406, 0x0501) }],
	[0x345, { name: "PERF_CAPABILITIES", read: reads(0) }],
	[
		0xc000_0080,
		{
			name: "EFER",
			read: (vcpu, value) => setNumber(value, vcpu.registers.control(EFER)),
			// Nothing of it is the guest's, but what it is may be said again.
			write: (vcpu, value) => value.high === 0 && value.low === vcpu.registers.control(EFER),
		},
	],
	// Where an HVM guest has its hypercall page written.
	[0x4000_0000, { name: "XEN_HYPERCALL", read: reads(0) }],
	[
		0xc000_0100,
		{
			name: "FS_BASE",
			read: (vcpu, value) => setNumber(value, vcpu.registers.segmentBase(Segment.fs)),
			write: (vcpu, value) => {
				const base = canonical(value);
				if (base === undefined) return false;
				vcpu.registers.setSegmentBase(Segment.fs, base);
				return true;
			},
		},
	],
	[
		0xc000_0101,
		{
			name: "GS_BASE",
			read: (vcpu, value) => setNumber(value, vcpu.registers.segmentBase(Segment.gs)),
			write: (vcpu, value) => {
				const base = canonical(value);
				if (base === undefined) return false;
				vcpu.registers.setSegmentBase(Segment.gs, base);
				return true;
			},
		},
	],
	[
		0xc000_0102,
		{
			name: "KERNEL_GS_BASE",
			// For a PV kernel this is the base of its user programs.
			read: (vcpu, value) => setNumber(value, vcpu.gsBaseUser),
			write: (vcpu, value) => {
				const base = canonical(value);
				if (base === undefined) return false;
				vcpu.gsBaseUser = base;
				return true;
			},
		},
	],
	[
		0xc000_0103,
		{
			name: "TSC_AUX",
			read: (vcpu, value) => setNumber(value, vcpu.registers.control(TSC_AUX)),
			write: (vcpu, value) => {
				if (value.high !== 0) return false;
				vcpu.registers.setControl(TSC_AUX, value.low);
				return true;
			},
		},
	],
]);
// Performance counters without a virtual PMU: 0, and writes are dropped.
for (const [first, count] of [
	[0xc1, 8],
	[0x186, 4],
	[0x309, 3],
	[0x38d, 4],
] as const) {
	for (let index = 0; index < count; index++) {
		MSRS.set(first + index, { name: `PERF_${(first + index).toString(16)}`, read: reads(0), write: ignored });
	}
}

// The virtual machine-check banks of Xen's vmce: nothing is ever in them, and only clearing them is allowed.
const MACHINE_CHECK_BANKS = 2;
MSRS.set(0x179, {
	name: "MCG_CAP",
	read: reads(MCG_SOFTWARE_RECOVERY | MCG_THRESHOLD_STATUS | MACHINE_CHECK_BANKS),
	write: ignored,
});
MSRS.set(0x17a, { name: "MCG_STATUS", read: reads(0), write: zeroOnly });
for (let bank = 0; bank < MACHINE_CHECK_BANKS; bank++) {
	MSRS.set(0x280 + bank, { name: `MC${bank}_CTL2`, read: reads(0), write: ignored });
	MSRS.set(0x400 + bank * 4, { name: `MC${bank}_CTL`, read: reads(0xffff_ffff, 0xffff_ffff), write: ignored });
	for (const [offset, name] of ["STATUS", "ADDR", "MISC"].entries()) {
		MSRS.set(0x401 + bank * 4 + offset, { name: `MC${bank}_${name}`, read: reads(0), write: zeroOnly });
	}
}

/** RDMSR. @returns false for #GP. */
export function readMsr(vcpu: Vcpu, register: number, value: MsrValue): boolean {
	return MSRS.get(register >>> 0)?.read?.(vcpu, value) ?? false;
}

/** WRMSR. @returns false for #GP. */
export function writeMsr(vcpu: Vcpu, register: number, value: MsrValue): boolean {
	return MSRS.get(register >>> 0)?.write?.(vcpu, value) ?? false;
}

/** Its name in the manual, for traces. */
export function msrName(register: number): string {
	return MSRS.get(register >>> 0)?.name ?? `0x${(register >>> 0).toString(16)}`;
}
