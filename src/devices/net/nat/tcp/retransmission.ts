/** The retransmission timeout (RFC 6298), with Karn's rule: what was sent twice is not measured. Times in milliseconds. */
const INITIAL = 1000;
/** Less than RFC 6298's second, as everywhere; more than the turns that busy guests take from each other. */
const LEAST = 300;
export const MOST = 60_000;
/** Granularity of the timers. */
const GRANULARITY = 1;

export class RetransmissionTimeout {
	private smoothed: number | undefined;
	private variation = 0;
	private base = INITIAL;
	private backoff = 1;

	/** Milliseconds until what is sent now has to be sent again. */
	get value(): number {
		return Math.min(MOST, this.base * this.backoff);
	}

	/** A round trip was measured. */
	measured(roundTrip: number): void {
		if (this.smoothed === undefined) {
			this.smoothed = roundTrip;
			this.variation = roundTrip / 2;
		} else {
			this.variation += (Math.abs(this.smoothed - roundTrip) - this.variation) / 4;
			this.smoothed += (roundTrip - this.smoothed) / 8;
		}
		this.base = Math.max(LEAST, this.smoothed + Math.max(GRANULARITY, 4 * this.variation));
		this.backoff = 1;
	}

	/** It has expired: the next one is twice as long. */
	expired(): void {
		this.backoff = Math.min(this.backoff * 2, MOST);
	}

	/** Something new was acknowledged. */
	progress(): void {
		this.backoff = 1;
	}
}
