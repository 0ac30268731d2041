/**
 * Values that instructions are tried with: random ones, and those where results, flags and exceptions change. They go as 32-bit
 * halves straight into a case's bytes.
 */
import type { Random } from "./random.ts";

/** Integers at the boundaries of every width, as [low, high]. */
const INTEGER_EDGES: readonly (readonly [number, number])[] = [
	[0, 0],
	[1, 0],
	[2, 0],
	[-1, -1],
	[-2, -1],
	[0x7f, 0],
	[0x80, 0],
	[0xff, 0],
	[0x100, 0],
	[-0x80, -1],
	[-0x81, -1],
	[0x7fff, 0],
	[0x8000, 0],
	[0xffff, 0],
	[0x1_0000, 0],
	[-0x8000, -1],
	[0x7fff_ffff, 0],
	[0x8000_0000, 0],
	[0x8000_0001, 0],
	[0xffff_ffff, 0],
	[0, 1],
	[0x8000_0000, -1],
	[0x7fff_ffff, -1],
	[0xffff_ffff, 0x7fff_ffff],
	[0, 0x8000_0000],
	[1, 0x8000_0000],
	[0xfefe_fefe, 0xfefe_fefe],
	[0x8080_8080, 0x8080_8080],
	[0x7f7f_7f7f, 0x7f7f_7f7f],
	[0x8000_8000, 0x8000_8000],
	[0x7fff_7fff, 0x7fff_7fff],
	[0x0099_0909, 0x9a99],
];

/** IEEE singles: zero, one, infinity, quiet and signalling NaN, denormals, limits, halves for rounding, limits of integers. */
const SINGLE_EDGES = [
	0, 0x8000_0000, 0x3f80_0000, 0xbf80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7f80_0001,
	0xffa0_1234, 0x7fff_ffff, 0x0000_0001, 0x8000_0001, 0x007f_ffff, 0x0080_0000, 0x8080_0000, 0x7f7f_ffff, 0xff7f_ffff,
	0x3f00_0000, 0x3f00_0001, 0x3fc0_0000, 0x4020_0000, 0xc020_0000, 0x4f00_0000, 0xcf00_0000, 0x4eff_ffff, 0x5f00_0000,
	0xdf00_0000, 0x4b00_0001, 0x3f7f_ffff, 0x3380_0000, 0x4080_0000, 0x4049_0fdb,
];

/** IEEE doubles likewise, as [low, high]. */
const DOUBLE_EDGES: readonly (readonly [number, number])[] = [
	[0, 0],
	[0, 0x8000_0000],
	[0, 0x3ff0_0000],
	[0, 0xbff0_0000],
	[0, 0x7ff0_0000],
	[0, 0xfff0_0000],
	[0, 0x7ff8_0000],
	[0, 0xfff8_0000],
	[1, 0x7ff0_0000],
	[0x1234, 0xfff4_0000],
	[-1, 0x7fff_ffff],
	[1, 0],
	[1, 0x8000_0000],
	[-1, 0x000f_ffff],
	[0, 0x0010_0000],
	[-1, 0x7fef_ffff],
	[-1, 0xffef_ffff],
	[0, 0x3fe0_0000],
	[1, 0x3fe0_0000],
	[0, 0x3ff8_0000],
	[0, 0x4004_0000],
	[0, 0xc004_0000],
	[0, 0x41e0_0000],
	[0, 0xc1e0_0000],
	[0xffc0_0000, 0x41df_ffff],
	[0x0020_0000, 0xc1e0_0000],
	[0, 0x43e0_0000],
	[0, 0xc3e0_0000],
	[-1, 0x43df_ffff],
	[0xe000_0000, 0x47ef_ffff],
	[0xf000_0000, 0x47ef_ffff],
	[0, 0x3810_0000],
	[0, 0x3690_0000],
	[0x1000_0000, 0x3ff0_0000],
	[0x5444_2d18, 0x4009_21fb],
];

/** Sign and exponent words with significands [low, high] of 80-bit numbers: every class of them, also the unsupported. */
const EXTENDED_EDGES: readonly (readonly [number, number, number])[] = [
	[0, 0, 0],
	[0, 0, 0x8000],
	[0, 0x8000_0000, 0x3fff],
	[0, 0x8000_0000, 0xbfff],
	[0, 0x8000_0000, 0x7fff],
	[0, 0x8000_0000, 0xffff],
	[0, 0xc000_0000, 0x7fff],
	[0, 0xc000_0000, 0xffff],
	[1, 0x8000_0000, 0x7fff],
	[0x1234, 0xa000_0000, 0xffff],
	[1, 0, 0],
	[0, 0x4000_0000, 0x8000],
	[0, 0x8000_0000, 0],
	[0, 0x8000_0000, 1],
	[-1, -1, 0x7ffe],
	[-1, -1, 0xfffe],
	[0, 0x8000_0000, 0x3ffe],
	[0, 0xc000_0000, 0x3fff],
	[0, 0xa000_0000, 0x4000],
	[0, 0x8000_0000, 0x401e],
	[0, 0x8000_0000, 0xc03e],
	[0, 0x8000_0000, 0x400e],
	[-1, 0x7fff_ffff, 0x403d],
	[0x400, 0x8000_0000, 0x3fff],
	[0, 0x8000_0080, 0x3fff],
	[0x2168_c235, 0xc90f_daa2, 0x4000],
	[0, 0x9000_0000, 0x3fc0],
	// Unsupported: pseudo-infinity, pseudo-NaN, unnormal.
	[0, 0, 0x7fff],
	[5, 0x4000_0000, 0x7fff],
	[5, 0x4000_0000, 0x3fff],
];

/** Puts a 64-bit integer at `at`. */
export function putInteger(random: Random, view: DataView, at: number): void {
	let low: number;
	let high: number;
	switch (random.below(8)) {
		case 0:
		case 1:
			[low, high] = random.pick(INTEGER_EDGES);
			break;
		case 2: {
			// A power of two, or one beside it.
			const bit = random.below(64);
			low = bit < 32 ? 1 << bit : 0;
			high = bit < 32 ? 0 : 1 << (bit - 32);
			const beside = random.between(-1, 1);
			if (beside < 0) {
				if (low === 0) high -= 1;
				low -= 1;
			} else low += beside;
			break;
		}
		case 3:
			low = random.between(-40, 70);
			high = low < 0 ? -1 : 0;
			break;
		case 4:
			// Sparse bits.
			low = random.word() & random.word() & random.word();
			high = random.word() & random.word() & random.word();
			break;
		default:
			low = random.word();
			high = random.word();
	}
	view.setInt32(at, low, true);
	view.setInt32(at + 4, high, true);
}

/** A random single whose exponent lets sums and products meet: near 1, or anything. */
function single(random: Random): number {
	const word = random.word();
	if (random.once(4)) return word;
	return (word & 0x807f_ffff) | (random.between(100, 160) << 23);
}

function putDouble(random: Random, view: DataView, at: number): void {
	let low = random.word();
	let high = random.word();
	if (random.once(3)) [low, high] = random.pick(DOUBLE_EDGES);
	else if (!random.once(4)) {
		high = (high & 0x800f_ffff) | (random.between(960, 1090) << 20);
		if (random.once(2)) low = 0;
	}
	view.setInt32(at, low, true);
	view.setInt32(at + 4, high, true);
}

/** Puts sixteen bytes for a vector register: singles, doubles, integers or random bits. */
export function putVector(random: Random, view: DataView, at: number): void {
	switch (random.below(5)) {
		case 0:
		case 1:
			for (let lane = 0; lane < 16; lane += 4) {
				view.setInt32(at + lane, random.once(3) ? random.pick(SINGLE_EDGES) : single(random), true);
			}
			break;
		case 2:
		case 3:
			putDouble(random, view, at);
			putDouble(random, view, at + 8);
			break;
		default:
			putInteger(random, view, at);
			putInteger(random, view, at + 8);
	}
}

/** Puts the ten bytes of an 80-bit number. */
export function putExtended(random: Random, view: DataView, at: number): void {
	if (random.once(3)) {
		const [low, high, top] = random.pick(EXTENDED_EDGES);
		view.setInt32(at, low, true);
		view.setInt32(at + 4, high, true);
		view.setUint16(at + 8, top, true);
		return;
	}
	// Normal: few or many bits of significand; exponents near 1 mostly.
	view.setInt32(at, random.once(2) ? 0 : random.word(), true);
	view.setInt32(at + 4, random.word() | 0x8000_0000, true);
	const exponent = random.once(4) ? random.between(1, 0x7ffe) : random.between(0x3fff - 70, 0x3fff + 70);
	view.setUint16(at + 8, exponent | (random.word() & 0x8000), true);
}

/** The data pages' and the read-only page's contents: every kind of value, and stretches of zeros for string instructions. */
export function background(random: Random, bytes: number): Uint8Array {
	const content = new Uint8Array(bytes);
	const view = new DataView(content.buffer);
	for (let at = 0; at < bytes; at += 16) {
		if ((at & 0xc00) === 0x400) continue;
		const kind = random.below(3);
		if (kind === 0) {
			putInteger(random, view, at);
			putInteger(random, view, at + 8);
		} else if (kind === 1) putVector(random, view, at);
		else putExtended(random, view, at);
	}
	return content;
}
