/** Congestion control: slow start, congestion avoidance (RFC 5681), fast recovery as NewReno does it (RFC 6582). Counts are bytes. */
import { distance } from "./sequence.ts";

/** RFC 6928. */
const INITIAL_SEGMENTS = 10;
/** More than a virtual link ever holds. */
const MOST = 4 * 2 ** 20;

export class CongestionControl {
	window: number;
	private threshold = Number.POSITIVE_INFINITY;
	private duplicates = 0;
	/** Recovery ends when this is acknowledged; undefined outside of it. */
	private recover: number | undefined;

	constructor(private readonly mss: number) {
		this.window = INITIAL_SEGMENTS * mss;
	}

	/** `count` new bytes were acknowledged, up to `acknowledged`. @returns whether the next segment is lost, too, and must be sent again. */
	acknowledged(count: number, acknowledged: number, inFlight: number): boolean {
		this.duplicates = 0;
		const { recover } = this;
		if (recover !== undefined) {
			if (distance(acknowledged, recover) >= 0) {
				this.recover = undefined;
				this.window = Math.min(this.threshold, Math.max(inFlight, this.mss) + this.mss);
				return false;
			}
			this.window = Math.max(this.mss, this.window - count + this.mss);
			return true;
		}
		if (this.window < this.threshold) this.window += count;
		else this.window += Math.max(1, Math.floor((this.mss * Math.min(count, this.window)) / this.window));
		this.window = Math.min(this.window, MOST);
		return false;
	}

	/**
	 * An acknowledgement came again.
	 * @param sent the end of what has been sent
	 * @returns whether the first segment counts as lost and must be sent again.
	 */
	duplicate(sent: number, inFlight: number): boolean {
		this.duplicates++;
		if (this.recover !== undefined) {
			this.window = Math.min(MOST, this.window + this.mss);
			return false;
		}
		if (this.duplicates !== 3) return false;
		this.recover = sent;
		this.threshold = Math.max(inFlight / 2, 2 * this.mss);
		this.window = this.threshold + 3 * this.mss;
		return true;
	}

	/** The retransmission timeout has expired. */
	timedOut(inFlight: number): void {
		this.duplicates = 0;
		this.recover = undefined;
		this.threshold = Math.max(inFlight / 2, 2 * this.mss);
		this.window = this.mss;
	}
}
