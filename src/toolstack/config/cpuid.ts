/**
 * xl.cfg(5)'s `cpuid`, as far as a processor here has a choice: its maker. In xend's syntax that is the name in leaf 0, bit by bit,
 *
 *   cpuid = [ "0:ebx=01101000011101000111010101000001,edx=0110100...,ecx=0100010..." ]
 *
 * and in libxl's, "host" alone asks for nothing. Everything else is refused by name: features, families and limits of leaves are the model's.
 */
import { CPU_VENDORS, type CpuVendor } from "../../cpu/vendor.ts";

export class CpuidError extends Error {
	override readonly name = "CpuidError";

	/** Sentences without their full stops. */
	constructor(
		readonly reason: string,
		readonly remedy: string,
	) {
		super(reason);
	}
}

/** A maker's name in leaf 0 (SDM and APM, CPUID): EBX, EDX, ECX, four characters each. */
const NAMES: Readonly<Record<CpuVendor, Readonly<Record<string, string>>>> = {
	intel: { ebx: "Genu", edx: "ineI", ecx: "ntel" },
	amd: { ebx: "Auth", edx: "enti", ecx: "cAMD" },
};
const REGISTERS = Object.keys(NAMES.intel);

/** Bits of a register, the highest first, as xend's syntax writes them. */
function bitsOf(characters: string): string {
	return [...characters]
		.reverse()
		.map((character) => character.charCodeAt(0).toString(2).padStart(8, "0"))
		.join("");
}

/** What xl.cfg says for a maker's processor, for messages. */
export function cpuidOf(vendor: CpuVendor): string {
	return `0:${REGISTERS.map((register) => `${register}=${bitsOf(NAMES[vendor][register]!)}`).join(",")}`;
}

const REMEDY = `Name the maker in leaf 0, or leave it out; for ${CPU_VENDORS.join(" or ")}: ${CPU_VENDORS.map((vendor) => `cpuid = [ "${cpuidOf(vendor)}" ]`).join(" or ")}`;

/** Whether no bit is asked for: x is xl's default, k and s the host's. */
const asksNothing = (bits: string): boolean => /^[xks]*$/.test(bits);

/** The registers that a leaf's line asks something for. @throws CpuidError */
function parseLeaf(line: string): Map<string, string> {
	const match = /^\s*(0[xX][0-9a-fA-F]+|\d+)(?:,(0[xX][0-9a-fA-F]+|\d+))?\s*:(.*)$/.exec(line);
	if (match === null) throw new CpuidError(`"${line}" is no leaf with registers`, REMEDY);
	const [, leaf, , rest = ""] = match;
	const asked = new Map<string, string>();
	for (const part of rest.split(",")) {
		const register = /^\s*(e[abcd]x)\s*=\s*([01xks]{32})\s*$/.exec(part);
		if (register === null)
			throw new CpuidError(`"${part.trim()}" is no register with 32 bits of 0, 1, x, k or s`, REMEDY);
		const [, name, bits] = register as unknown as [string, string, string];
		if (asksNothing(bits)) continue;
		if (Number(leaf) !== 0 || !REGISTERS.includes(name)) {
			throw new CpuidError(
				`bits of ${name.toUpperCase()} of leaf ${leaf} cannot be chosen: the model has them`,
				REMEDY,
			);
		}
		asked.set(name, bits);
	}
	return asked;
}

function matches(vendor: CpuVendor, asked: ReadonlyMap<string, string>): boolean {
	return REGISTERS.every((register) => {
		const bits = asked.get(register);
		const own = bitsOf(NAMES[vendor][register]!);
		return bits !== undefined && [...bits].every((bit, index) => !/[01]/.test(bit) || bit === own[index]);
	});
}

/** The maker that is asked for, if any. @throws CpuidError for what cannot be chosen */
export function parseCpuid(given: string | readonly string[] | undefined): CpuVendor | undefined {
	if (given === undefined) return undefined;
	if (typeof given === "string") {
		const [first, ...features] = given.split(",").map((part) => part.trim());
		if (first !== "host") throw new CpuidError(`"${given}" does not begin with "host"`, REMEDY);
		const asking = features.find((feature) => !/^\w+=[xks]$/.test(feature));
		if (asking !== undefined) throw new CpuidError(`"${asking}" cannot be chosen: the model has it`, REMEDY);
		return undefined;
	}
	// Several lines may be of one leaf.
	const asked = new Map(given.flatMap((line) => [...parseLeaf(line)]));
	if (asked.size === 0) return undefined;
	const vendor = CPU_VENDORS.find((candidate) => matches(candidate, asked));
	if (vendor === undefined)
		throw new CpuidError("leaf 0 names neither GenuineIntel nor AuthenticAMD as a whole", REMEDY);
	return vendor;
}
