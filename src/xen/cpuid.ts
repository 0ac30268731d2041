/**
 * CPUID as a PV guest sees it: tables of what the processor implements (x86-64-v2) minus what Xen hides from PV guests (PSE, PGE, MTRR,
 * VME, SMEP, SMAP, ...: public/arch-x86/cpufeatureset.h, features marked S and H), and Xen's own leaves (public/arch-x86/cpuid.h).
 *
 * The vendor is GenuineIntel, an in-order Atom of the Saltwell kind (family 6, model 0x36) by its signature. The processor
 * does not speculate, and that is what this model says: kernels need no mitigations, so that indirect calls stay calls and
 * kernel entries stay short. Intel's SYSCALL is #UD in compatibility mode: 32-bit programs use SYSENTER and INT 0x80. Leaf
 * 0x16 gives the frequency, so that Linux does not measure it with the (absent) PIT.
 */
import { CR4 } from "../cpu/layout.ts";
import type { CpuidResult } from "../cpu/processor.ts";
import { Cr4 } from "./abi/arch.ts";
import type { Vcpu } from "./vcpu.ts";

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

/** Family 6, model 0x36, stepping 1. */
const SIGNATURE = 0x0003_0661;
const HIGHEST_BASIC = 0x16;
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
const FIXED = new Map<number, CpuidResult>();
function fixed(leaf: number, value: CpuidResult, subleaf = 0): void {
	FIXED.set(leaf * 256 + subleaf, value);
}
fixed(0, result(HIGHEST_BASIC, text("Genu"), text("ntel"), text("ineI")));
// One descriptor byte, 0xff: caches are described by leaf 4.
fixed(2, result(0x0000_ff01));
fixed(4, cache(1, 1, 8, 64), 0);
fixed(4, cache(2, 1, 8, 64), 1);
fixed(4, cache(3, 2, 8, 1024), 2);
fixed(7, result(0, bits(Leaf7Ebx)));
fixed(0xd, result(XSTATE_X87_SSE, XSAVE_SIZE, XSAVE_SIZE), 0);
fixed(0xd, result(XSAVE_FORMS, XSAVE_SIZE), 1);
fixed(0x4000_0000, result(HIGHEST_XEN, text("XenV"), text("MMXe"), text("nVMM")));
fixed(0x4000_0001, result((4 << 16) | 17));
// One hypercall page, MSRs from 0x40000000, MMU_PT_UPDATE_PRESERVE_AD.
fixed(0x4000_0002, result(1, 0x4000_0000, 1));
fixed(0x8000_0000, result(HIGHEST_EXTENDED));
fixed(0x8000_0001, result(0, 0, bits(Extended1Ecx), bits(Extended1Edx)));
for (let part = 0; part < 3; part++) fixed(0x8000_0002 + part, brand(part));
// L2: 512 KiB, 8 ways, lines of 64 bytes.
fixed(0x8000_0006, result(0, 0, (512 << 16) | (6 << 12) | 64));
// 48 bits of virtual and 40 of machine addresses.
fixed(0x8000_0008, result(0x3028));

const LEAVES_WITH_SUBLEAVES = new Set([4, 7, 0xb, 0xd, 0x4000_0003, 0x4000_0004]);

const LEAF1_EBX = 8 << 8;
const LEAF1 = result(SIGNATURE, LEAF1_EBX, bits(Leaf1Ecx), bits(Leaf1Edx));
const LEAF1_OSXSAVE = result(SIGNATURE, LEAF1_EBX, bits(Leaf1Ecx) + OSXSAVE, bits(Leaf1Edx));

/** The answer of CPUID for a vCPU: unprivileged, with the forced emulation prefix, or emulated. Registers are unsigned. */
export function cpuid(vcpu: Vcpu, leaf: number, subleaf: number): CpuidResult {
	const number = leaf >>> 0;
	switch (number) {
		case 1:
			return (vcpu.registers.control(CR4) & Cr4.OSXSAVE) !== 0 ? LEAF1_OSXSAVE : LEAF1;
		case 0x16: {
			const megahertz = Math.round(vcpu.domain.hypervisor.clock.tscFrequency / 1_000_000);
			return result(megahertz, megahertz, 100);
		}
		case 0x4000_0003:
			return timeLeaf(vcpu, subleaf);
		case 0x4000_0005:
			return subleaf === 0 ? result(0, machineAddressBits(vcpu)) : ZERO;
	}
	if (number > HIGHEST_BASIC && number < 0x4000_0000) return ZERO;
	const selected = LEAVES_WITH_SUBLEAVES.has(number) ? subleaf >>> 0 : 0;
	return selected < 256 ? (FIXED.get(number * 256 + selected) ?? ZERO) : ZERO;
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
