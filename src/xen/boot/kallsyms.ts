/**
 * The kernel's own symbol table (CONFIG_KALLSYMS), found in an image that has no symbols which would say where it is. Its parts stand one after
 * another in .rodata, each aligned to 8; two of them are recognised by their form and lead to the rest. The layout is that
 * of Linux's scripts/kallsyms.c:
 *
 *   Linux 6.1:     offsets, relative_base, num_syms, names, markers, (seqs_of_names,) token_table, token_index
 *   Linux 6.4 on:  num_syms, names, markers, token_table, token_index, offsets, relative_base, ...
 *
 * A name is a length and as many bytes, each the number of a token; the first character that they spell is the symbol's type.
 */
import { cString, type ElfFile } from "./elf.ts";
import type { KernelSymbol } from "./symbols.ts";

const TOKENS = 256;
const DIGIT_ZERO = 0x30;
const LONGEST_TOKEN = 128;
const MARKER_STEP = 256;
/** How many places that look like the beginning of a table are tried; in real kernels it is among the first few. */
const MAX_TRIES = 200;
/** More symbols than any kernel has. */
const MAX_SYMBOLS = 2_000_000;

function align8(offset: number): number {
	return Math.ceil(offset / 8) * 8;
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
function readTokenTable(bytes: Uint8Array, view: DataView, start: number): TokenTable | undefined {
	const tokens: string[] = [];
	const offsets: number[] = [];
	let at = start;
	for (let token = 0; token < TOKENS && at < bytes.length; token++) {
		const text = cString(bytes, at, Math.min(at + 256, bytes.length));
		offsets.push(at - start);
		tokens.push(text);
		at += text.length + 1;
	}
	const index = align8(at);
	const end = index + TOKENS * 2;
	if (tokens.length < TOKENS || end > bytes.length) return undefined;
	return offsets.every((offset, token) => view.getUint16(index + token * 2, true) === offset)
		? { start, end, tokens }
		: undefined;
}

/** Goes back from the digits to the first token: over those that end in a zero, then to an aligned address. */
function findTokenTable(bytes: Uint8Array, view: DataView): TokenTable | undefined {
	let tries = 0;
	for (let digits = findDigits(bytes, 0); digits >= 0 && tries < MAX_TRIES; digits = findDigits(bytes, digits + 1)) {
		tries++;
		let second = digits;
		for (let token = DIGIT_ZERO; token > 1 && second > 1; token--) {
			second--;
			while (second > 0 && bytes[second - 1] !== 0) second--;
		}
		const nearest = align8(second) - 8;
		for (let start = nearest; start >= 0 && start > nearest - LONGEST_TOKEN; start -= 8) {
			const table = readTokenTable(bytes, view, start);
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
function* markersBefore(view: DataView, tokenTable: number): Generator<Markers> {
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
function* markersBeforeSequences(view: DataView, tokenTable: number): Generator<Markers> {
	for (let length = 8; length <= MAX_SYMBOLS * 3 && length < tokenTable; length += 8) {
		const count = Math.ceil(Math.floor(length / 3) / MARKER_STEP);
		// Padding makes the number of symbols uncertain by two, and so at a boundary that of markers by one.
		for (const markers of [count, count - 1]) {
			const start = tokenTable - length - align8(markers * 4);
			if (markers > 1 && isAscending(view, start, markers)) yield { start, count: markers };
		}
	}
}

/** The names from `at` on, checked against the markers; undefined where they do not fit. */
function readNames(
	bytes: Uint8Array,
	view: DataView,
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
		names.push(name.slice(1));
	}
	return align8(at) === markers ? names : undefined;
}

interface Names {
	/** Offset of num_syms. */
	readonly numSymbols: number;
	readonly names: readonly string[];
}

/** Looks for num_syms, which stands right before the names; the markers tell how many there are about and how long they are. */
function findNames(bytes: Uint8Array, view: DataView, markers: Markers, tokens: readonly string[]): Names | undefined {
	const lastMarker = view.getUint32(markers.start + (markers.count - 1) * 4, true);
	const most = markers.count * MARKER_STEP;
	if (most > MAX_SYMBOLS) return undefined;
	const highest = align8(markers.start - lastMarker) - 8;
	// 256 names after the last marker, of at most 512 tokens each.
	const lowest = Math.max(0, highest - MARKER_STEP * 514);
	for (let at = highest; at >= lowest; at -= 8) {
		const count = view.getUint32(at, true);
		if (count > most || count <= most - MARKER_STEP || view.getUint32(at + 4, true) !== 0) continue;
		const names = readNames(bytes, view, at + 8, count, markers.start, tokens);
		if (names !== undefined) return { numSymbols: at, names };
	}
	return undefined;
}

/** Addresses by the two layouts: the one whose relative base is an address of the kernel. */
function readAddresses(view: DataView, numSymbols: number, count: number, tokenIndexEnd: number): number[] | undefined {
	const layouts = [
		{ offsets: numSymbols - 8 - align8(count * 4), base: numSymbols - 8 },
		{ offsets: align8(tokenIndexEnd), base: align8(tokenIndexEnd) + align8(count * 4) },
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

/** The names that the first markers lead to which lead to any. */
function firstNames(bytes: Uint8Array, view: DataView, table: TokenTable): Names | undefined {
	let tries = 0;
	for (const find of [markersBefore, markersBeforeSequences]) {
		for (const markers of find(view, table.start)) {
			const found = findNames(bytes, view, markers, table.tokens);
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
	const table = findTokenTable(bytes, view);
	if (table === undefined) return [];
	const found = firstNames(bytes, view, table);
	if (found === undefined) return [];
	const addresses = readAddresses(view, found.numSymbols, found.names.length, table.end);
	if (addresses === undefined) return [];
	return found.names.map((name, i) => ({ name, address: addresses[i]! }));
}
