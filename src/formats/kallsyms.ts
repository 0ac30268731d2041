/**
 * The kernel's own symbol table (CONFIG_KALLSYMS), found in an image that has no symbols which would say where it is. Its parts stand one after
 * another in .rodata, each aligned; two of them are recognised by their form and lead to the rest. The layout is that
 * of Linux's scripts/kallsyms.c:
 *
 *   Linux 6.1:     offsets, relative_base, num_syms, names, markers, (seqs_of_names,) token_table, token_index
 *   Linux 6.4 on:  num_syms, names, markers, token_table, token_index, offsets, relative_base, ...
 *   Linux 7.2:     the same without relative_base: each offset counts from its own place. Aligned to 4, the others to 8
 *
 * A name is a length and as many bytes, each the number of a token; the first character that they spell is the symbol's type.
 */
import { cString, type ElfFile } from "./elf.ts";
import { isCodeType, type KernelSymbol } from "./symbols.ts";

const TOKENS = 256;
const DIGIT_ZERO = 0x30;
const LONGEST_TOKEN = 128;
const MARKER_STEP = 256;
/** How many places that look like the beginning of a table are tried; in real kernels it is among the first few. */
const MAX_TRIES = 200;
/** More symbols than any kernel has. */
const MAX_SYMBOLS = 2_000_000;

/** What a kernel's tables are aligned to; found by trying. */
const ALIGNMENTS = [8, 4] as const;
type Alignment = (typeof ALIGNMENTS)[number];

function align(offset: number, alignment: Alignment): number {
	return Math.ceil(offset / alignment) * alignment;
}

/** .rodata */
interface Area {
	readonly bytes: Uint8Array;
	readonly view: DataView;
	/** Virtual address of its first byte. */
	readonly address: number;
	readonly alignment: Alignment;
}

interface TokenTable {
	readonly start: number;
	readonly end: number;
	readonly tokens: readonly string[];
}

/** The digits are tokens of their own in every kernel: "0\0" to "9\0" in a row. */
function findDigits(bytes: Uint8Array, from: number): number {
	for (let at = bytes.indexOf(DIGIT_ZERO, from); at >= 0; at = bytes.indexOf(DIGIT_ZERO, at + 1)) {
		let digit = 0;
		while (digit < 10 && bytes[at + digit * 2] === DIGIT_ZERO + digit && bytes[at + digit * 2 + 1] === 0) digit++;
		if (digit === 10) return at;
	}
	return -1;
}

/** 256 strings from `start` on, followed by an array of their offsets, which proves them. */
function readTokenTable({ bytes, view, alignment }: Area, start: number): TokenTable | undefined {
	const tokens: string[] = [];
	const offsets: number[] = [];
	let at = start;
	for (let token = 0; token < TOKENS && at < bytes.length; token++) {
		const text = cString(bytes, at, Math.min(at + 256, bytes.length));
		offsets.push(at - start);
		tokens.push(text);
		at += text.length + 1;
	}
	const index = align(at, alignment);
	const end = index + TOKENS * 2;
	if (tokens.length < TOKENS || end > bytes.length) return undefined;
	return offsets.every((offset, token) => view.getUint16(index + token * 2, true) === offset)
		? { start, end, tokens }
		: undefined;
}

/** Goes back from the digits to the first token: over those that end in a zero, then to an aligned address. */
function findTokenTable(area: Area): TokenTable | undefined {
	const { bytes, alignment } = area;
	let tries = 0;
	for (let digits = findDigits(bytes, 0); digits >= 0 && tries < MAX_TRIES; digits = findDigits(bytes, digits + 1)) {
		tries++;
		let second = digits;
		for (let token = DIGIT_ZERO; token > 1 && second > 1; token--) {
			second--;
			while (second > 0 && bytes[second - 1] !== 0) second--;
		}
		const nearest = align(second, alignment) - alignment;
		for (let start = nearest; start >= 0 && start > nearest - LONGEST_TOKEN; start -= alignment) {
			const table = readTokenTable(area, start);
			if (table !== undefined) return table;
		}
	}
	return undefined;
}

interface Markers {
	readonly start: number;
	readonly count: number;
}

function isAscending(view: DataView, start: number, count: number): boolean {
	if (start < 0 || view.getUint32(start, true) !== 0) return false;
	for (let i = 1; i < count; i++) {
		if (view.getUint32(start + i * 4, true) <= view.getUint32(start + (i - 1) * 4, true)) return false;
	}
	return true;
}

/** Markers that end right before the token table (with a word of padding or without): ascending words from 0 on. */
function* markersBefore({ view }: Area, tokenTable: number): Generator<Markers> {
	let at = tokenTable - 4;
	if (at >= 0 && view.getUint32(at, true) === 0) at -= 4;
	const last = at;
	let previous = Number.POSITIVE_INFINITY;
	for (; at >= 0; at -= 4) {
		const marker = view.getUint32(at, true);
		if (marker >= previous) return;
		if (marker === 0) {
			yield { start: at, count: (last - at) / 4 + 1 };
			return;
		}
		previous = marker;
	}
}

/**
 * Markers before seqs_of_names, which has three bytes for each symbol: its length gives the number of markers, which then
 * have to be ascending words from 0 on.
 */
function* markersBeforeSequences({ view, alignment }: Area, tokenTable: number): Generator<Markers> {
	for (let length = alignment; length <= MAX_SYMBOLS * 3 && length < tokenTable; length += alignment) {
		const count = Math.ceil(Math.floor(length / 3) / MARKER_STEP);
		// Padding makes the number of symbols uncertain by two, and so at a boundary that of markers by one.
		for (const markers of [count, count - 1]) {
			const start = tokenTable - length - align(markers * 4, alignment);
			if (markers > 1 && isAscending(view, start, markers)) yield { start, count: markers };
		}
	}
}

/** The names from `at` on, each behind its type, checked against the markers; undefined where they do not fit. */
function readNames(
	{ bytes, view, alignment }: Area,
	at: number,
	count: number,
	markers: number,
	tokens: readonly string[],
): string[] | undefined {
	const start = at;
	const names: string[] = [];
	for (let i = 0; i < count; i++) {
		if (i % MARKER_STEP === 0 && view.getUint32(markers + (i / MARKER_STEP) * 4, true) !== at - start) return undefined;
		let length = bytes[at++]!;
		if (length & 0x80) length = (length & 0x7f) | (bytes[at++]! << 7);
		if (length === 0 || at + length > markers) return undefined;
		let name = "";
		for (const end = at + length; at < end; at++) name += tokens[bytes[at]!]!;
		names.push(name);
	}
	return align(at, alignment) === markers ? names : undefined;
}

interface Names {
	/** Offset of num_syms. */
	readonly numSymbols: number;
	readonly names: readonly string[];
}

/** Looks for num_syms, which stands right before the names; the markers tell how many there are about and how long they are. */
function findNames(area: Area, markers: Markers, tokens: readonly string[]): Names | undefined {
	const { view, alignment } = area;
	const lastMarker = view.getUint32(markers.start + (markers.count - 1) * 4, true);
	const most = markers.count * MARKER_STEP;
	if (most > MAX_SYMBOLS) return undefined;
	const highest = align(markers.start - lastMarker, alignment) - alignment;
	// 256 names after the last marker, of at most 512 tokens each.
	const lowest = Math.max(0, highest - MARKER_STEP * 514);
	for (let at = highest; at >= lowest; at -= alignment) {
		const count = view.getUint32(at, true);
		if (count > most || count <= most - MARKER_STEP) continue;
		if (alignment === 8 && view.getUint32(at + 4, true) !== 0) continue;
		const names = readNames(area, at + alignment, count, markers.start, tokens);
		if (names !== undefined) return { numSymbols: at, names };
	}
	return undefined;
}

/** Addresses by the two layouts with a relative base: the one in which it is an address of the kernel. */
function readBasedAddresses(
	{ view, alignment }: Area,
	numSymbols: number,
	count: number,
	tokenIndexEnd: number,
): number[] | undefined {
	const size = align(count * 4, alignment);
	const behind = align(tokenIndexEnd, alignment);
	const layouts = [
		{ offsets: numSymbols - 8 - size, base: numSymbols - 8 },
		{ offsets: behind, base: behind + size },
	];
	for (const { offsets, base } of layouts) {
		if (offsets < 0 || base < 0 || base + 8 > view.byteLength) continue;
		if (view.getUint32(base + 4, true) !== 0xffff_ffff) continue;
		const relativeBase = view.getInt32(base, true) - (view.getInt32(base, true) < 0 ? 0 : 2 ** 32);
		const values = Array.from({ length: count }, (_, i) => view.getInt32(offsets + i * 4, true));
		// Kernels with absolute per-CPU symbols keep all others as negative numbers, one off.
		const negative = values.filter((value) => value < 0).length * 2 > count;
		return values.map((value) => {
			if (!negative) return relativeBase + (value >>> 0);
			return value < 0 ? relativeBase - 1 - value : value;
		});
	}
	return undefined;
}

/** Addresses that are offsets from their own places, behind the index of tokens: they rise, which proves them. */
function readRelativeAddresses(area: Area, count: number, tokenIndexEnd: number): number[] | undefined {
	const start = align(tokenIndexEnd, area.alignment);
	if (start + count * 4 > area.view.byteLength) return undefined;
	const addresses: number[] = [];
	for (let i = 0; i < count; i++) {
		const place = start + i * 4;
		const address = area.address + place + area.view.getInt32(place, true);
		if (address < (addresses[i - 1] ?? Number.NEGATIVE_INFINITY)) return undefined;
		addresses.push(address);
	}
	return addresses;
}

/** The names that the first markers lead to which lead to any. */
function firstNames(area: Area, table: TokenTable): Names | undefined {
	let tries = 0;
	for (const find of [markersBefore, markersBeforeSequences]) {
		for (const markers of find(area, table.start)) {
			const found = findNames(area, markers, table.tokens);
			if (found !== undefined) return found;
			if (++tries === MAX_TRIES) return undefined;
		}
	}
	return undefined;
}

/** The symbols of the kallsyms tables, or none where there are no tables of a known layout. */
export function readKallsyms(elf: ElfFile): KernelSymbol[] {
	const section = elf.section(".rodata");
	if (section === undefined) return [];
	const bytes = elf.contents(section);
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	for (const alignment of ALIGNMENTS) {
		const symbols = readTables({ bytes, view, address: section.address, alignment });
		if (symbols !== undefined) return symbols;
	}
	return [];
}

function readTables(area: Area): KernelSymbol[] | undefined {
	const table = findTokenTable(area);
	if (table === undefined) return undefined;
	const found = firstNames(area, table);
	if (found === undefined) return undefined;
	const { names, numSymbols } = found;
	const addresses =
		readBasedAddresses(area, numSymbols, names.length, table.end) ??
		readRelativeAddresses(area, names.length, table.end);
	return addresses?.map((address, i) => {
		const name = names[i] as string;
		return { name: name.slice(1), address, code: isCodeType(name.charAt(0)) };
	});
}
