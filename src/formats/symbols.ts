/**
 * Names for addresses of a guest kernel, for crash reports: from a System.map, from the ELF file's symbol table, or from the
 * kallsyms tables that the kernel itself carries (kallsyms.ts) - a distribution's kernel has only the last.
 */
import { type ElfFile, PF_X, PT_LOAD, SHF_EXECINSTR, SHF_WRITE } from "./elf.ts";
import { hex } from "./errors.ts";
import { readKallsyms } from "./kallsyms.ts";

export interface KernelSymbol {
	readonly name: string;
	/** Virtual address, signed. */
	readonly address: number;
	/** It names code, or may do so: data must not show up in the trace of a crash. */
	readonly code: boolean;
}

export interface SymbolAt {
	readonly name: string;
	/** Bytes from the symbol to the address. */
	readonly offset: number;
}

/** STT_NOTYPE, as labels in assembly have it, and STT_FUNC. */
const CODE_SYMBOL_TYPES = [0, 2];

/** Whether a type as nm(1), System.map and kallsyms write it is one of code: text, or weak and no object. */
export function isCodeType(type: string): boolean {
	return /^[tTwW]$/.test(type);
}

/** An address further than this from the symbol before it is in nothing that has a name. */
const FARTHEST = 16 * 1024 * 1024;
/** Addresses below this are per-CPU offsets and absolute constants, not code. */
const LOWEST_KERNEL_ADDRESS = -(2 ** 47);

export class SymbolTable {
	private readonly sorted: readonly KernelSymbol[];

	/** Of several names for one address, the first is kept; of code and data, code. */
	constructor(symbols: readonly KernelSymbol[]) {
		const sorted = symbols
			.filter(({ address }) => address < 0 && address >= LOWEST_KERNEL_ADDRESS)
			.sort((a, b) => a.address - b.address || Number(b.code) - Number(a.code));
		this.sorted = sorted.filter(({ address }, i) => i === 0 || sorted[i - 1]!.address !== address);
	}

	/** The table of those symbols that name code. */
	code(): SymbolTable {
		return new SymbolTable(this.sorted.filter(({ code }) => code));
	}

	get size(): number {
		return this.sorted.length;
	}

	/** By their addresses. */
	get entries(): readonly KernelSymbol[] {
		return this.sorted;
	}

	/** The symbol that a (signed) address lies in or after, or undefined. */
	lookup(address: number): SymbolAt | undefined {
		let low = 0;
		let high = this.sorted.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (this.sorted[middle]!.address <= address) low = middle + 1;
			else high = middle;
		}
		const found = this.sorted[low - 1];
		if (found === undefined || address - found.address > FARTHEST) return undefined;
		return { name: found.name, offset: address - found.address };
	}

	/** "do_idle+0x4a", or the address alone. */
	format(address: number): string {
		const found = this.lookup(address);
		return found === undefined ? hex(address) : `${found.name}+0x${found.offset.toString(16)}`;
	}
}

/** Reads a System.map ("ffffffff81000000 T _text" a line). Lines of any other form are passed over. */
export function symbolsFromSystemMap(text: string): SymbolTable {
	const symbols: KernelSymbol[] = [];
	for (const line of text.split("\n")) {
		const match = /^([0-9a-f]{16}) ([A-Z]) (\S+)\s*$/i.exec(line);
		if (match === null) continue;
		const [, address, type, name] = match as unknown as [string, string, string, string];
		symbols.push({
			address: (Number.parseInt(address.slice(0, 8), 16) | 0) * 2 ** 32 + Number.parseInt(address.slice(8), 16),
			name,
			code: isCodeType(type),
		});
	}
	return new SymbolTable(symbols);
}

/** The symbols that an image carries: its symbol table, or else its kallsyms; an empty table where it has neither. */
export function symbolsFromKernel(elf: ElfFile): SymbolTable {
	const fromElf = elf.symbols();
	if (fromElf.length === 0) return new SymbolTable(readKallsyms(elf));
	return new SymbolTable(
		fromElf.map(({ name, address, type }) => ({ name, address, code: CODE_SYMBOL_TYPES.includes(type) })),
	);
}

/**
 * What names the code of an image: "do_idle+0x4a" of an address in an executable part, undefined of any other address, however near
 * it is to code. Made for traces: a word on the stack that points to data is no return address.
 */
export function codeNames(elf: ElfFile): (address: number) => string | undefined {
	const symbols = symbolsFromKernel(elf).code();
	const executable = elf.sections.filter(({ flags }) => (flags & SHF_EXECINSTR) !== 0);
	// Linux 7.2 marks .data executable, and so everything in it as text; but the text of a kernel is not writable.
	const fixed = executable.filter(({ flags }) => (flags & SHF_WRITE) === 0);
	const sections = fixed.length > 0 ? fixed : executable;
	const segments = elf.segments.filter(({ type, flags }) => type === PT_LOAD && (flags & PF_X) !== 0);
	const parts =
		sections.length > 0
			? sections.map(({ address, size }) => ({ start: address, end: address + size }))
			: segments.map(({ virtualAddress, memorySize }) => ({ start: virtualAddress, end: virtualAddress + memorySize }));
	return (address) => {
		const part = parts.find(({ start, end }) => address >= start && address < end);
		const symbol = part && symbols.lookup(address);
		if (part === undefined || symbol === undefined || address - symbol.offset < part.start) return undefined;
		return `${symbol.name}+0x${symbol.offset.toString(16)}`;
	};
}
