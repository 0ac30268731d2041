/**
 * Names for addresses of a guest kernel, for crash reports: from a System.map, from the ELF file's symbol table, or from the
 * kallsyms tables that the kernel itself carries (kallsyms.ts) - a distribution's kernel has only the last.
 */
import type { ElfFile } from "./elf.ts";
import { hex } from "./errors.ts";
import { readKallsyms } from "./kallsyms.ts";

export interface KernelSymbol {
	readonly name: string;
	/** Virtual address, signed. */
	readonly address: number;
}

export interface SymbolAt {
	readonly name: string;
	/** Bytes from the symbol to the address. */
	readonly offset: number;
}

/** An address further than this from the symbol before it is in nothing that has a name. */
const FARTHEST = 16 * 1024 * 1024;
/** Addresses below this are per-CPU offsets and absolute constants, not code. */
const LOWEST_KERNEL_ADDRESS = -(2 ** 47);

export class SymbolTable {
	private readonly sorted: readonly KernelSymbol[];

	/** Of several names for one address, the first is kept. */
	constructor(symbols: readonly KernelSymbol[]) {
		const sorted = symbols
			.filter(({ address }) => address < 0 && address >= LOWEST_KERNEL_ADDRESS)
			.sort((a, b) => a.address - b.address);
		this.sorted = sorted.filter(({ address }, i) => i === 0 || sorted[i - 1]!.address !== address);
	}

	get size(): number {
		return this.sorted.length;
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
		const match = /^([0-9a-f]{16}) [A-Za-z] (\S+)\s*$/i.exec(line);
		if (match === null) continue;
		const [, address, name] = match as unknown as [string, string, string];
		symbols.push({
			address: (Number.parseInt(address.slice(0, 8), 16) | 0) * 2 ** 32 + Number.parseInt(address.slice(8), 16),
			name,
		});
	}
	return new SymbolTable(symbols);
}

/** The symbols that an image carries: its symbol table, or else its kallsyms; an empty table where it has neither. */
export function symbolsFromKernel(elf: ElfFile): SymbolTable {
	const fromElf = elf.symbols();
	return new SymbolTable(fromElf.length > 0 ? fromElf : readKallsyms(elf));
}
