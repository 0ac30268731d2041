import { describe, expect, it } from "vitest";
import { CpuidError, cpuidOf, parseCpuid } from "../../../src/toolstack/config/cpuid.ts";

function refusal(given: string | readonly string[]): string {
	try {
		return `${parseCpuid(given)}`;
	} catch (error) {
		if (error instanceof CpuidError) return error.reason;
		throw error;
	}
}

/** The words of leaf 0 on processors of both makers (SDM volume 2 and APM volume 3, CPUID). */
const LEAF_0 = {
	intel: { ebx: 0x756e_6547, edx: 0x4965_6e69, ecx: 0x6c65_746e },
	amd: { ebx: 0x6874_7541, edx: 0x6974_6e65, ecx: 0x444d_4163 },
} as const;

describe("xl.cfg's cpuid", () => {
	it.each(["intel", "amd"] as const)("chooses a maker by the name in leaf 0: %s", (vendor) => {
		const bits = (word: number): string => word.toString(2).padStart(32, "0");
		const { ebx, edx, ecx } = LEAF_0[vendor];
		expect(parseCpuid([`0:ebx=${bits(ebx)},ecx=${bits(ecx)},edx=${bits(edx)}`])).toBe(vendor);
		expect(parseCpuid([`0x0:ebx=${bits(ebx)}`, ` 0:ecx=${bits(ecx)},edx=${bits(edx)}`])).toBe(vendor);
		expect(parseCpuid([cpuidOf(vendor)])).toBe(vendor);
	});

	it("lets be what asks for nothing", () => {
		const any = "x".repeat(32);
		expect(parseCpuid(undefined)).toBe(undefined);
		expect(parseCpuid("host")).toBe(undefined);
		expect(parseCpuid("host,tm=x,sse3=k")).toBe(undefined);
		expect(parseCpuid([`1:ecx=${any}`, `0xd,1:eax=${"k".repeat(32)}`])).toBe(undefined);
	});

	it("refuses by name what cannot be chosen", () => {
		expect(refusal("host,tm=0,sse3=k")).toBe('"tm=0" cannot be chosen: the model has it');
		expect(refusal("tm=0")).toBe('"tm=0" does not begin with "host"');
		expect(refusal([`1:ecx=${"x".repeat(31)}0`])).toBe("bits of ECX of leaf 1 cannot be chosen: the model has them");
		expect(refusal([`0:eax=${"0".repeat(32)}`])).toBe("bits of EAX of leaf 0 cannot be chosen: the model has them");
		expect(refusal(["0:ebx=101"])).toBe('"ebx=101" is no register with 32 bits of 0, 1, x, k or s');
		expect(refusal(["vendor=amd"])).toBe('"vendor=amd" is no leaf with registers');
		expect(refusal([`0:ebx=${"1".repeat(32)}`])).toBe("leaf 0 names neither GenuineIntel nor AuthenticAMD as a whole");
		const [ebx] = cpuidOf("amd").split(",");
		expect(refusal([ebx!])).toBe("leaf 0 names neither GenuineIntel nor AuthenticAMD as a whole");
	});
});
