/**
 * Where time comes from. `real` follows the host, `deterministic` counts executed instructions: one nanosecond each, plus the
 * time that all vCPUs were idle, which passes at once. Nothing in the hypervisor reads the host's clock in any other way.
 */
export interface Clock {
	readonly deterministic: boolean;
	/** Nanoseconds since the host started (Xen's system time), never going back. */
	now(): number;
	/** Nanoseconds since 1970 at system time 0. */
	readonly wallClockBase: number;
	/** Ticks of the virtual TSC per second, and its value now. The TSC is system time scaled. */
	readonly tscFrequency: number;
	tsc(): number;
	/** {@link Environment.tscWindow} */
	readonly tscWindow: number;
	/** All vCPUs are idle until `deadline`: the deterministic clock jumps there, the real one lets the host wait. */
	skipTo(deadline: number): void;
}

/** A tick a nanosecond: the TSC then *is* system time, and a guest's pvclock never needs a new base. */
const TSC_FREQUENCY = 1_000_000_000;

/** Follows the host's monotonic clock. */
export class RealClock implements Clock {
	readonly deterministic = false;
	/** About a microsecond. */
	readonly tscWindow = 1024;
	readonly tscFrequency = TSC_FREQUENCY;
	readonly wallClockBase: number;
	private readonly start: number;
	private last = 0;

	/** @param hostMilliseconds monotonic, fractional milliseconds. */
	constructor(private readonly hostMilliseconds: () => number = () => performance.now()) {
		this.start = hostMilliseconds();
		this.wallClockBase = Date.now() * 1_000_000;
	}

	now(): number {
		const now = Math.floor((this.hostMilliseconds() - this.start) * 1_000_000);
		if (now > this.last) this.last = now;
		return this.last;
	}

	tsc(): number {
		return this.now();
	}

	skipTo(): void {
		// The scheduler lets the host wait; time passes by itself.
	}
}

export interface DeterministicClockOptions {
	/** Nanoseconds that an instruction takes; a whole number. */
	readonly nanosecondsPerInstruction?: number;
	/** Nanoseconds since 1970 at system time 0; 2024-01-01 where not given. */
	readonly wallClockBase?: number;
}

/** 2024-01-01T00:00:00Z: any fixed moment will do, later than the kernels' own build-time minimum of file times. */
const DEFAULT_WALL_CLOCK = 1_704_067_200 * 1_000_000_000;

/** Time is what the processor has executed: the same boot twice takes the same instructions at the same times. */
export class DeterministicClock implements Clock {
	readonly deterministic = true;
	/** What the clock says is exact. */
	readonly tscWindow = 0;
	readonly tscFrequency = TSC_FREQUENCY;
	readonly wallClockBase: number;
	readonly nanosecondsPerInstruction: number;
	private skipped = 0;

	constructor(
		private readonly processor: { readonly executed: number },
		options: DeterministicClockOptions = {},
	) {
		this.nanosecondsPerInstruction = Math.max(1, Math.floor(options.nanosecondsPerInstruction ?? 1));
		this.wallClockBase = options.wallClockBase ?? DEFAULT_WALL_CLOCK;
	}

	now(): number {
		return this.processor.executed * this.nanosecondsPerInstruction + this.skipped;
	}

	tsc(): number {
		return this.now();
	}

	skipTo(deadline: number): void {
		const ahead = deadline - this.now();
		if (ahead > 0 && Number.isFinite(ahead)) this.skipped += Math.ceil(ahead);
	}
}
