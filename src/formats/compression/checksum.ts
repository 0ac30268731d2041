/**
 * The checksums of payloads that are the same in several formats: CRC-32 as gzip and xz compute it (reflected polynomial 0xEDB88320),
 * eight bytes a step, because kernels are tens of megabytes; and Adler-32 (RFC 1950), which lzop writes.
 */

const SLICES = 8;
const TABLES: readonly Uint32Array[] = makeTables();

function makeTables(): Uint32Array[] {
	const tables = Array.from({ length: SLICES }, () => new Uint32Array(256));
	const first = tables[0]!;
	for (let i = 0; i < 256; i++) {
		let c = i;
		for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xed_b8_83_20 : c >>> 1;
		first[i] = c;
	}
	for (let slice = 1; slice < SLICES; slice++) {
		const before = tables[slice - 1]!;
		for (let i = 0; i < 256; i++) {
			const c = before[i]!;
			tables[slice]![i] = (c >>> 8) ^ first[c & 0xff]!;
		}
	}
	return tables;
}

/** CRC-32 of `data[start..end)`, unsigned. */
export function crc32(data: Uint8Array, start = 0, end = data.length): number {
	const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as [
		Uint32Array,
		Uint32Array,
		Uint32Array,
		Uint32Array,
		Uint32Array,
		Uint32Array,
		Uint32Array,
		Uint32Array,
	];
	let c = -1;
	let i = start;
	for (; i + 8 <= end; i += 8) {
		c =
			t7[(c ^ data[i]!) & 0xff]! ^
			t6[((c >>> 8) ^ data[i + 1]!) & 0xff]! ^
			t5[((c >>> 16) ^ data[i + 2]!) & 0xff]! ^
			t4[((c >>> 24) ^ data[i + 3]!) & 0xff]! ^
			t3[data[i + 4]!]! ^
			t2[data[i + 5]!]! ^
			t1[data[i + 6]!]! ^
			t0[data[i + 7]!]!;
	}
	for (; i < end; i++) c = (c >>> 8) ^ t0[(c ^ data[i]!) & 0xff]!;
	return ~c >>> 0;
}

const ADLER_MODULUS = 65_521;
/** As many bytes as can be added up before the sums must be reduced. */
const ADLER_RUN = 5552;

/** Adler-32 of `data[start..end)`, unsigned. */
export function adler32(data: Uint8Array, start = 0, end = data.length): number {
	let a = 1;
	let b = 0;
	for (let i = start; i < end; ) {
		for (const stop = Math.min(i + ADLER_RUN, end); i < stop; i++) {
			a += data[i]!;
			b += a;
		}
		a %= ADLER_MODULUS;
		b %= ADLER_MODULUS;
	}
	return b * 65_536 + a;
}
