import { describe, expect, it } from "vitest";
import { CR4 } from "../../../src/cpu/layout.ts";
import { cpuid } from "../../../src/xen/pv/cpuid.ts";
import { createTrapGuest } from "../trap-guest.ts";

const { vcpu, registers } = createTrapGuest();

function text(...words: number[]): string {
	return String.fromCharCode(...words.flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 255)));
}

describe("cpuid", () => {
	it("names vendor, hypervisor and brand", () => {
		const basic = cpuid(vcpu, 0, 0);
		expect(text(basic.ebx, basic.edx, basic.ecx)).toBe("GenuineIntel");
		expect(basic.eax).toBe(0x16);
		const xen = cpuid(vcpu, 0x4000_0000, 0);
		expect(text(xen.ebx, xen.ecx, xen.edx)).toBe("XenVMMXenVMM");
		expect(cpuid(vcpu, 0x4000_0001, 0).eax).toBe(0x0004_0011);
		const brand = [0x8000_0002, 0x8000_0003, 0x8000_0004].map((leaf) => cpuid(vcpu, leaf | 0, 0));
		expect(text(...brand.flatMap((part) => [part.eax, part.ebx, part.ecx, part.edx]))).toMatch(
			/^paravirt x86-64-v2 processor\0+$/,
		);
	});

	it("names the maker of the processor, and has its leaves", () => {
		const { processor } = vcpu.domain.hypervisor as unknown as { processor: { vendor: "intel" | "amd" } };
		processor.vendor = "amd";
		try {
			for (const leaf of [0, 0x8000_0000]) {
				const { ebx, ecx, edx } = cpuid(vcpu, leaf, 0);
				expect(text(ebx, edx, ecx)).toBe("AuthenticAMD");
			}
			// Family 0x11; neither caches by leaves 2 and 4 nor the frequency by leaf 0x16.
			expect(cpuid(vcpu, 1, 0).eax).toBe(0x0020_0f31);
			expect(cpuid(vcpu, 0x8000_0001, 0).eax).toBe(0x0020_0f31);
			for (const leaf of [2, 4, 0x16]) expect(cpuid(vcpu, leaf, 0)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
			// FPU, CX8 and SSE's FXSR are told by the extended leaf as well, SSE itself is not.
			const { edx } = cpuid(vcpu, 0x8000_0001, 0);
			expect([0, 8, 24, 25, 29].map((bit) => Math.floor(edx / 2 ** bit) % 2)).toEqual([1, 1, 1, 0, 1]);
			expect(cpuid(vcpu, 0x8000_0005, 0).ecx).not.toBe(0);
		} finally {
			processor.vendor = "intel";
		}
	});

	it("shows what x86-64-v2 asks for, and hides what Xen hides from PV guests", () => {
		const { ecx, edx } = cpuid(vcpu, 1, 0);
		const set = (word: number, ...bits: number[]) => bits.map((bit) => Math.floor(word / 2 ** bit) % 2);
		expect(set(ecx, 0, 9, 13, 19, 20, 23)).toEqual([1, 1, 1, 1, 1, 1]);
		expect(set(edx, 0, 8, 15, 23, 24, 25, 26)).toEqual([1, 1, 1, 1, 1, 1, 1]);
		// VME, PSE, MTRR, PGE, PSE36; AVX, FMA, PCID, x2APIC.
		expect(set(edx, 1, 3, 12, 13, 17)).toEqual([0, 0, 0, 0, 0]);
		expect(set(ecx, 28, 12, 17, 21)).toEqual([0, 0, 0, 0]);
		const extended = cpuid(vcpu, 0x8000_0001, 0);
		expect(set(extended.ecx, 0)).toEqual([1]);
		expect(set(extended.edx, 11, 20, 26, 27, 29)).toEqual([1, 1, 0, 1, 1]);
		// SMEP, SMAP, AVX2.
		expect(set(cpuid(vcpu, 7, 0).ebx, 0, 7, 20, 5)).toEqual([1, 0, 0, 0]);
	});

	it("shows OSXSAVE as the guest's CR4 has it", () => {
		expect(cpuid(vcpu, 1, 0).ecx & 0x800_0000).toBe(0);
		registers.setControl(CR4, registers.control(CR4) | 0x40000);
		expect(cpuid(vcpu, 1, 0).ecx & 0x800_0000).toBe(0x800_0000);
	});

	it("tells how system time follows from the TSC", () => {
		expect(cpuid(vcpu, 0x4000_0003, 0).ecx).toBe(1_000_000);
		const { ecx, edx } = cpuid(vcpu, 0x4000_0003, 1);
		const shift = (edx << 24) >> 24;
		expect((1_000_000 * 2 ** shift * ecx) / 2 ** 32).toBeCloseTo(1_000_000, 3);
		expect(cpuid(vcpu, 0x16, 0).eax).toBe(1000);
	});

	it("is zero for what does not exist", () => {
		const zero = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
		for (const [leaf, subleaf] of [
			[0x17, 0],
			[4, 3],
			[4, -1],
			[7, 1],
			[0x4000_0006, 0],
			[0x8000_0009, 0],
			[-1, -1],
			[0xa, 0],
		] as const) {
			expect(cpuid(vcpu, leaf, subleaf)).toEqual(zero);
		}
	});
});
