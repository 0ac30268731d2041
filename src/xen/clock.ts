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
	/** All vCPUs are idle until `deadline`: the deterministic clock jumps there, the real one lets the host wait. */
	skipTo(deadline: number): void;
}
