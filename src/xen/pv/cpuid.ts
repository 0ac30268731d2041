/**
 * CPUID as a PV guest sees it: tables of what the processor implements (x86-64-v2) minus what Xen hides from PV guests (PSE, PGE, MTRR,
 * VME, SMEP, SMAP, ...: public/arch-x86/cpufeatureset.h, features marked S and H), and Xen's own leaves (public/arch-x86/cpuid.h).
 *
 * Vendor and model are those of the processor's maker (cpu/vendor.ts):
 * - Intel: an in-order Atom of the Saltwell kind (family 6, model 0x36) by its signature. The processor does not speculate, and that is what this
 *   model says: kernels need no mitigations, so that indirect calls stay calls and kernel entries stay short. 32-bit programs use SYSENTER. Leaf 0x16
 *   gives the frequency.
 * - AMD: a Griffin (family 0x11, model 3). No AMD processor with long mode counts as one that does not speculate, so Linux has its answers to Spectre
 *   (retpolines) for all of them; of the families that it excepts from everything else (no Meltdown, SSB, RETBleed, SRSO) this is the one without
 *   errata of its own to work around. 32-bit programs use SYSCALL. The frequency comes from Xen's leaf 0x40000003, as for PV guests on any AMD host.
 */
import { CR4 } from "../../cpu/layout.ts";
import type { CpuidResult } from "../../cpu/processor.ts";
import { CPU_VENDORS, type CpuVendor } from "../../cpu/vendor.ts";
import { Cr4 } from "../abi/arch.ts";
import type { Vcpu } from "../vcpu.ts";

/** Feature bits by the manual's names: leaf 1. */
const Leaf1Edx = {
	FPU: 0,
	DE: 2,
	TSC: 4,
	MSR: 5,
	PAE: 6,
	// Xen gives every guest two virtual machine-check banks (msr.ts), in which nothing is ever logged.
	MCE: 7,
	CX8: 8,
	// Xen shows it to PV guests, though they reach no local APIC: Linux would otherwise turn off its Xen APIC driver.
	APIC: 9,
	SEP: 11,
	MCA: 14,
	CMOV: 15,
	PAT: 16,
	CLFSH: 19,
	MMX: 23,
	FXSR: 24,
	SSE: 25,
	SSE2: 26,
} as const;
const Leaf1Ecx = {
	SSE3: 0,
	SSSE3: 9,
	CMPXCHG16B: 13,
	SSE4_1: 19,
	SSE4_2: 20,
	POPCNT: 23,
	XSAVE: 26,
	RDRAND: 30,
	HYPERVISOR: 31,
} as const;
const OSXSAVE = 2 ** 27;
/** ERMS: REP MOVSB and STOSB are the fastest way to move memory here. */
const Leaf7Ebx = { FSGSBASE: 0, ERMS: 9, RDSEED: 18 } as const;
const Extended1Edx = { SYSCALL: 11, NX: 20, RDTSCP: 27, LM: 29 } as const;
const Extended1Ecx = { LAHF: 0, PREFETCHW: 8 } as const;
/** Leaf 0xd, subleaf 1: XSAVEOPT and XSAVEC. */
const XSAVE_FORMS = 0b11;

function bits(features: Readonly<Record<string, number>>): number {
	return Object.values(features).reduce((word, bit) => word + 2 ** bit, 0);
}

function text(characters: string): number {
	return [...characters].reduce((word, character, index) => word + character.charCodeAt(0) * 2 ** (index * 8), 0);
}

function result(eax: number, ebx = 0, ecx = 0, edx = 0): CpuidResult {
	return { eax, ebx, ecx, edx };
}

/** What the leaves say of a maker's processor. */
interface Model {
	/** Twelve characters, in the order EBX, EDX, ECX. */
	readonly vendor: string;
	/** Family, model and stepping: EAX of leaf 1 (SDM volume 2, CPUID, figure 3-6). */
	readonly signature: number;
	readonly highestBasic: number;
}
const MODELS: Readonly<Record<CpuVendor, Model>> = {
	intel: { vendor: "GenuineIntel", signature: 0x0003_0661, highestBasic: 0x16 },
	amd: { vendor: "AuthenticAMD", signature: 0x0020_0f31, highestBasic: 0xd },
};
/** Features of leaf 1 that AMD's leaf 0x80000001 repeats in EDX (APM volume 3, appendix E.4.2). */
const REPEATED_FEATURES = 0x0183_f3ff;
const HIGHEST_XEN = 0x4000_0005;
const HIGHEST_EXTENDED = 0x8000_0008;
const BRAND = "paravirt x86-64-v2 processor".padEnd(48, "\0");

/** Cache description of leaf 4: type (1 data, 2 instruction, 3 unified), level, ways, sets; lines of 64 bytes. */
function cache(type: number, level: number, ways: number, sets: number): CpuidResult {
	return result(type | (level << 5) | (1 << 8), ((ways - 1) << 22) | 63, sets - 1);
}

function brand(part: number): CpuidResult {
	const word = (index: number) => text(BRAND.slice(part * 16 + index * 4, part * 16 + index * 4 + 4));
	return result(word(0), word(1), word(2), word(3));
}

/** Bytes of an XSAVE area in the standard format with x87 state, SSE state or both: legacy region and header. */
const XSAVE_SIZE = 576;
const XSTATE_X87_SSE = 3;

const ZERO = result(0);

/** Leaves that are the same for every vCPU, by leaf * 256 + subleaf; subleaf 0 answers for leaves without. */
type Leaves = Map<number, CpuidResult>;
const FIXED: Readonly<Record<CpuVendor, Leaves>> = { intel: new Map(), amd: new Map() };
const ALL: readonly Leaves[] = Object.values(FIXED);
function fixed(leaf: number, value: CpuidResult, subleaf = 0, of: readonly Leaves[] = ALL): void {
	for (const leaves of of) leaves.set(leaf * 256 + subleaf, value);
}
/** EAX with the vendor's name in the other registers. */
const named = (eax: number, vendor: string): CpuidResult =>
	result(eax, text(vendor.slice(0, 4)), text(vendor.slice(8)), text(vendor.slice(4, 8)));
const INTEL = [FIXED.intel];
const AMD = [FIXED.amd];
for (const vendor of CPU_VENDORS)
	fixed(0, named(MODELS[vendor].highestBasic, MODELS[vendor].vendor), 0, [FIXED[vendor]]);
// One descriptor byte, 0xff: caches are described by leaf 4.
fixed(2, result(0x0000_ff01), 0, INTEL);
fixed(4, cache(1, 1, 8, 64), 0, INTEL);
fixed(4, cache(2, 1, 8, 64), 1, INTEL);
fixed(4, cache(3, 2, 8, 1024), 2, INTEL);
fixed(7, result(0, bits(Leaf7Ebx)));
fixed(0xd, result(XSTATE_X87_SSE, XSAVE_SIZE, XSAVE_SIZE), 0);
fixed(0xd, result(XSAVE_FORMS, XSAVE_SIZE), 1);
fixed(0x4000_0000, result(HIGHEST_XEN, text("XenV"), text("MMXe"), text("nVMM")));
fixed(0x4000_0001, result((4 << 16) | 17));
// One hypercall page, MSRs from 0x40000000, MMU_PT_UPDATE_PRESERVE_AD.
fixed(0x4000_0002, result(1, 0x4000_0000, 1));
fixed(0x8000_0000, result(HIGHEST_EXTENDED), 0, INTEL);
fixed(0x8000_0000, named(HIGHEST_EXTENDED, MODELS.amd.vendor), 0, AMD);
fixed(0x8000_0001, result(0, 0, bits(Extended1Ecx), bits(Extended1Edx)), 0, INTEL);
const repeated = bits(Leaf1Edx) & REPEATED_FEATURES;
fixed(0x8000_0001, result(MODELS.amd.signature, 0, bits(Extended1Ecx), bits(Extended1Edx) + repeated), 0, AMD);
// First level: 32 KiB of data and of instructions each, 8 ways, one line a tag, lines of 64 bytes.
const FIRST_LEVEL = (32 << 24) | (8 << 16) | (1 << 8) | 64;
fixed(0x8000_0005, result(0, 0, FIRST_LEVEL, FIRST_LEVEL), 0, AMD);
for (let part = 0; part < 3; part++) fixed(0x8000_0002 + part, brand(part));
// L2: 512 KiB, 8 ways, lines of 64 bytes.
fixed(0x8000_0006, result(0, 0, (512 << 16) | (6 << 12) | 64));
// 48 bits of virtual and 40 of machine addresses.
fixed(0x8000_0008, result(0x3028));

const LEAVES_WITH_SUBLEAVES = new Set([4, 7, 0xb, 0xd, 0x4000_0003, 0x4000_0004]);

const LEAF1_EBX = 8 << 8;
const LEAF1 = result(0, LEAF1_EBX, bits(Leaf1Ecx), bits(Leaf1Edx));
const leaf1 = (vendor: CpuVendor, osxsave: boolean): CpuidResult => ({
	...LEAF1,
	eax: MODELS[vendor].signature,
	ecx: LEAF1.ecx + (osxsave ? OSXSAVE : 0),
});
const LEAF1_OF = {
	intel: [leaf1("intel", false), leaf1("intel", true)],
	amd: [leaf1("amd", false), leaf1("amd", true)],
};

/** The answer of CPUID for a vCPU: unprivileged, with the forced emulation prefix, or emulated. Registers are unsigned. */
export function cpuid(vcpu: Vcpu, leaf: number, subleaf: number): CpuidResult {
	const number = leaf >>> 0;
	const { vendor } = vcpu.domain.hypervisor.processor;
	switch (number) {
		case 1:
			return LEAF1_OF[vendor][(vcpu.registers.control(CR4) & Cr4.OSXSAVE) !== 0 ? 1 : 0]!;
		case 0x16: {
			if (vendor !== "intel") return ZERO;
			const megahertz = Math.round(vcpu.domain.hypervisor.clock.tscFrequency / 1_000_000);
			return result(megahertz, megahertz, 100);
		}
		case 0x4000_0003:
			return timeLeaf(vcpu, subleaf);
		case 0x4000_0005:
			return subleaf === 0 ? result(0, machineAddressBits(vcpu)) : ZERO;
	}
	if (number > MODELS[vendor].highestBasic && number < 0x4000_0000) return ZERO;
	const selected = LEAVES_WITH_SUBLEAVES.has(number) ? subleaf >>> 0 : 0;
	return selected < 256 ? (FIXED[vendor].get(number * 256 + selected) ?? ZERO) : ZERO;
}

/** Leaf 0x40000003: how system time follows from the TSC (host TSC reliable, RDTSCP available; not emulated). */
function timeLeaf(vcpu: Vcpu, subleaf: number): CpuidResult {
	const kilohertz = Math.round(vcpu.domain.hypervisor.clock.tscFrequency / 1000);
	switch (subleaf) {
		case 0:
			return result(0b110, 0, kilohertz, 1);
		case 1: {
			// nanoseconds = ((tsc << shift) * multiplier) >> 32, the multiplier's top bit set.
			let ticks = kilohertz * 1000;
			let shift = 0;
			while (ticks > 2_000_000_000) {
				ticks /= 2;
				shift--;
			}
			while (ticks <= 1_000_000_000) {
				ticks *= 2;
				shift++;
			}
			return result(0, 0, Math.floor((1_000_000_000 * 2 ** 32) / ticks), shift & 0xff);
		}
		case 2:
			return result(kilohertz);
		default:
			return ZERO;
	}
}

function machineAddressBits(vcpu: Vcpu): number {
	return Math.ceil(Math.log2(vcpu.domain.hypervisor.memory.frames)) + 12;
}
