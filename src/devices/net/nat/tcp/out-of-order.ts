/**
 * What came too early: pieces of the stream behind a gap, kept until the gap is filled. They never overlap, and there are only so many;
 * a peer that sends single bytes in the worst order cannot make it hold or search more.
 */
import { advance, distance } from "./sequence.ts";

interface Piece {
	readonly sequence: number;
	readonly bytes: Uint8Array;
}

const MOST_PIECES = 128;

export class OutOfOrder {
	private pieces: Piece[] = [];

	get empty(): boolean {
		return this.pieces.length === 0;
	}

	/** Keeps a copy of what is not here yet; the caller has cut it to the receive window. What there is no room for is forgotten. */
	insert(sequence: number, bytes: Uint8Array): void {
		let at = sequence;
		let rest = bytes;
		const kept: Piece[] = [];
		for (const piece of this.pieces) {
			const before = distance(piece.sequence, at);
			if (rest.length > 0 && before > 0) {
				const part = rest.subarray(0, before);
				kept.push({ sequence: at, bytes: part.slice() });
				rest = rest.subarray(part.length);
				at = advance(at, part.length);
			}
			kept.push(piece);
			const covered = distance(advance(piece.sequence, piece.bytes.length), at);
			if (rest.length > 0 && covered > 0) {
				rest = rest.subarray(Math.min(covered, rest.length));
				at = advance(at, covered);
			}
		}
		if (rest.length > 0) kept.push({ sequence: at, bytes: rest.slice() });
		this.pieces = kept.length > MOST_PIECES ? kept.slice(0, MOST_PIECES) : kept;
	}

	/** Takes the bytes that begin at `sequence`; undefined where none are here. */
	take(sequence: number): Uint8Array | undefined {
		for (let first = this.pieces[0]; first !== undefined; first = this.pieces[0]) {
			const passed = distance(sequence, first.sequence);
			if (passed < 0) return undefined;
			this.pieces.shift();
			if (passed < first.bytes.length) return first.bytes.subarray(passed);
		}
		return undefined;
	}

	clear(): void {
		this.pieces = [];
	}
}
