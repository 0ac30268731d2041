/**
 * Zstandard (RFC 8878) by fzstd, bounded: its streaming interface hands over blocks of at most 128 KiB, so a small file that
 * would unpack to a huge one is stopped at the limit.
 */
import { Decompress } from "fzstd";
import { PayloadError } from "./errors.ts";
import type { Output } from "./output.ts";

/** Input is fed in pieces of this size, so that the library's own queue stays small too. */
const PIECE = 1 << 16;

/** Decompresses zstd frames. Throws a PayloadError. */
export function decompressZstd(input: Uint8Array, output: Output): void {
	let finished = false;
	const stream = new Decompress((data, final) => {
		output.append(data);
		finished ||= final === true;
	});
	try {
		for (let at = 0; at < input.length; at += PIECE) {
			const end = Math.min(at + PIECE, input.length);
			stream.push(input.subarray(at, end), end === input.length);
		}
	} catch (error) {
		if (error instanceof PayloadError) throw error;
		const message = error instanceof Error ? error.message : String(error);
		throw new PayloadError(message === "unexpected EOF" ? "truncated" : "corrupt", `zstd: ${message}`);
	}
	if (!finished) throw new PayloadError("truncated", "the zstd data ends early");
}
