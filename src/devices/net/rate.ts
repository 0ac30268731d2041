/**
 * How much a guest may send (xl-network-configuration(5), `rate`): so many bytes in each interval, as netback counts them. What was saved up in
 * one interval is not carried into the next.
 */
export interface Rate {
	/** Bytes in an interval. */
	readonly bytes: number;
	/** Microseconds. */
	readonly interval: number;
}

/** The longest that netback counts with. */
const MOST = 0xffff_ffff;

/** The node `rate` of the back end's directory: "BYTES,MICROSECONDS". */
export function parseRateNode(text: string): Rate | undefined {
	const match = /^(\d+),(\d+)$/.exec(text.trim());
	if (match === null) return undefined;
	const [bytes, interval] = [Number(match[1]), Number(match[2])];
	return bytes > 0 && interval > 0 && bytes <= MOST && interval <= MOST ? { bytes, interval } : undefined;
}

export class Credit {
	private remaining: number;
	private nextAt: number | undefined;

	/** @param now nanoseconds of system time */
	constructor(
		readonly rate: Rate,
		private readonly now: () => number,
	) {
		this.remaining = rate.bytes;
	}

	/** Spends credit for a packet. @returns false where there is not enough; {@link refillAt} says until when */
	take(bytes: number): boolean {
		const now = this.now();
		const interval = this.rate.interval * 1000;
		if (this.nextAt === undefined || now >= this.nextAt) {
			this.nextAt = now + interval;
			// A packet larger than all of an interval's credit would never go.
			this.remaining = Math.max(this.rate.bytes, bytes);
		}
		if (bytes > this.remaining) return false;
		this.remaining -= bytes;
		return true;
	}

	/** System time in nanoseconds at which there is credit again. */
	get refillAt(): number {
		return this.nextAt ?? this.now();
	}
}
