/**
 * Undoes the x86 branch filter that Linux asks xz for: the encoder replaced the relative targets of CALL (E8) and JMP (E9) by
 * absolute ones, which compress better. Algorithm: "BCJ" of the LZMA SDK by Igor Pavlov (public domain), x86 variant.
 */

/** By the mask of recent opcode-like bytes: may a branch start here at all, and which byte of the operand they fell on. */
const ALLOWED = [true, true, true, false, true, false, false, false];
const OPERAND_BYTE = [0, 1, 2, 2, 3, 3, 3, 3];

/** A 32-bit displacement of a branch within one program has a top byte of all zeros or all ones. */
function isSignByte(byte: number): boolean {
	return byte === 0x00 || byte === 0xff;
}

/** Index of the next E8 or E9 from `from` to `limit`, or limit + 1. Looks at four bytes at once: few bytes are one of the two. */
function nextOpcode(data: Uint8Array, from: number, limit: number): number {
	let i = from;
	while (i + 3 <= limit) {
		const word = data[i]! | (data[i + 1]! << 8) | (data[i + 2]! << 16) | (data[i + 3]! << 24);
		// A byte of `rest` is 0 where the word has E8 or E9; the subtraction borrows through exactly such bytes.
		const rest = (word ^ 0xe8e8_e8e8) & 0xfefe_fefe;
		if (((rest - 0x0101_0101) & ~rest & 0x8080_8080) !== 0) break;
		i += 4;
	}
	while (i <= limit && (data[i]! & 0xfe) !== 0xe8) i++;
	return i;
}

/**
 * Converts `data[start..end)` in place. Positions count from `start`, as they do from the beginning of an xz block.
 */
export function undoBranchFilter(data: Uint8Array, start: number, end: number): void {
	const limit = end - 5;
	let mask = 0;
	let previous = start - 1;
	for (let i = nextOpcode(data, start, limit); i <= limit; i = nextOpcode(data, i + 1, limit)) {
		const gap = i - previous;
		previous = i;
		if (gap > 3) {
			mask = 0;
		} else {
			mask = (mask << (gap - 1)) & 7;
			if (mask !== 0 && (!ALLOWED[mask] || isSignByte(data[i + 4 - OPERAND_BYTE[mask]!]!))) {
				mask = ((mask << 1) & 7) | 1;
				continue;
			}
		}
		if (!isSignByte(data[i + 4]!)) {
			mask = ((mask << 1) & 7) | 1;
			continue;
		}
		let source = data[i + 1]! | (data[i + 2]! << 8) | (data[i + 3]! << 16) | (data[i + 4]! << 24);
		let target: number;
		for (;;) {
			target = (source - (i - start + 5)) | 0;
			if (mask === 0) break;
			const shift = 24 - OPERAND_BYTE[mask]! * 8;
			if (!isSignByte((target >>> shift) & 0xff)) break;
			source = target ^ (2 ** (shift + 8) - 1);
		}
		data[i + 1] = target;
		data[i + 2] = target >> 8;
		data[i + 3] = target >> 16;
		data[i + 4] = target & 0x100_0000 ? 0xff : 0;
		i += 4;
		// previous stays at the opcode: the next candidate is five bytes on and starts with a clear mask.
	}
}
