/** What is written in the test of durability: write number `n` puts its number into every sector of a place that follows from it. */
export const DISK_BYTES = 24 * 2 ** 20;
/** A write is a page or less, as blkfront's single segment. */
const PLACES = DISK_BYTES / 4096;
/** Writes from one flush to the next. */
export const WRITES_PER_FLUSH = 6;

export interface Write {
	/** First sector of its page. */
	readonly sector: number;
	/** Sectors: the first to the last of the page. */
	readonly first: number;
	readonly last: number;
}

export function writeOf(number: number): Write {
	const hash = Math.imul(number + 1, 2654435761) >>> 0;
	const first = (hash >>> 8) % 8;
	return { sector: ((hash >>> 11) % PLACES) * 8, first, last: first + ((hash >>> 5) % (8 - first)) };
}

/** The contents of a sector that write `number` has put there. */
export function contentsOf(number: number, sector: number): Uint8Array {
	const bytes = new Uint8Array(512);
	const words = new Uint32Array(bytes.buffer);
	for (let index = 0; index < words.length; index++) words[index] = Math.imul(index, number + 77) ^ sector;
	words[0] = number + 1;
	words[1] = sector;
	return bytes;
}
