/**
 * Runs the same guest on two machines that differ in how they execute, stretch by stretch (a stretch is one run of the processor, until an exit), and finds
 * the first stretch after which they differ: registers at once, memory by digests at intervals that are then narrowed.
 */
import type { EngineOptions } from "../../../src/cpu/engine.ts";
import { memoryDigest, registerDigest, type Stretch, type WatchedOptions, watchedMachine } from "./machine.ts";

export interface LockstepOptions extends Omit<WatchedOptions, "processor"> {
	readonly reference: EngineOptions;
	readonly tested: EngineOptions;
	/** Instructions between two comparisons of all memory. */
	readonly memoryInterval: number;
	/** Instructions after which both are stopped. */
	readonly limit: number;
	readonly onProgress?: (instructions: number) => void;
}

/** What of the options is the guest's. */
export function guestOf(options: LockstepOptions): Omit<WatchedOptions, "processor"> {
	const { reference: _, tested: __, memoryInterval: ___, limit: ____, onProgress: _____, ...guest } = options;
	return guest;
}

/** The first stretch (counted from 0) after which the two differ, and in what. */
export interface DifferentStretch {
	readonly stretch: number;
	readonly what: "registers" | "memory";
}

export interface Agreement {
	readonly stretches: number;
	readonly instructions: number;
	/** Of the tested machine's instructions, those that regions executed. */
	readonly translated: number;
}

/** Where memory is compared. */
type MemoryCheck = (stretch: number, executed: number, before: number) => boolean;

interface Outcome {
	readonly different: DifferentStretch | undefined;
	/** The last stretch after which memory agreed, -1 for none. */
	readonly memoryAgreed: number;
	readonly agreement: Agreement;
}

/** Two trails of marks; the shorter one is always a beginning of the longer one. */
class Trails {
	/** Digests of registers that only one machine has reached yet. */
	private readonly marks: number[] = [];
	private readonly memory = new Map<number, string>();
	private readonly counts = [0, 0];
	different: DifferentStretch | undefined;
	memoryAgreed = -1;

	/** Machine `which` has ended a stretch. @returns whether the two agree so far. */
	add(which: 0 | 1, digest: number, memory: string | undefined): boolean {
		if (this.different !== undefined) return false;
		const stretch = this.counts[which]!++;
		if (stretch === this.marks.length) {
			this.marks.push(digest);
			if (memory !== undefined) this.memory.set(stretch, memory);
			return true;
		}
		if (this.marks[stretch] !== digest) this.different = { stretch, what: "registers" };
		else if (this.memory.get(stretch) !== memory) this.different = { stretch, what: "memory" };
		else if (memory !== undefined) this.memoryAgreed = stretch;
		return this.different === undefined;
	}

	get compared(): number {
		return Math.min(...this.counts);
	}

	/** Both have ended: after the same number of stretches? */
	end(): void {
		const [one, other] = this.counts as [number, number];
		if (one !== other) this.different ??= { stretch: Math.min(one, other), what: "registers" };
	}
}

async function runBoth(options: LockstepOptions, check: MemoryCheck, lastStretch: number): Promise<Outcome> {
	const trails = new Trails();
	const stops: (() => void)[] = [];
	const watch =
		(which: 0 | 1) =>
		(engine: Parameters<typeof registerDigest>[0]): Stretch => {
			let stretch = 0;
			return (fuel, run) => {
				const before = engine.executed;
				const exit = run(fuel);
				const { executed } = engine;
				const memory = check(stretch, executed, before) ? memoryDigest(engine) : undefined;
				const agree = trails.add(which, registerDigest(engine), memory);
				if (which === 1 && (stretch & 0xfff) === 0) options.onProgress?.(executed);
				if (!agree) for (const stop of stops) stop();
				else if (executed >= options.limit || stretch >= lastStretch) stops[which]?.();
				stretch++;
				return exit;
			};
		};
	const { reference, tested } = options;
	const guest = guestOf(options);
	const machines = [
		await watchedMachine({ ...guest, processor: reference }, watch(0)),
		await watchedMachine({ ...guest, processor: tested }, watch(1)),
	];
	for (const machine of machines) stops.push(() => machine.stop());
	await Promise.all(machines.map(({ ended }) => ended));
	for (const stop of stops) stop();
	if (options.limit === Number.POSITIVE_INFINITY && lastStretch === Number.POSITIVE_INFINITY) trails.end();
	const { engine } = machines[1]!;
	return {
		different: trails.different,
		memoryAgreed: trails.memoryAgreed,
		agreement: {
			stretches: trails.compared,
			instructions: engine.executed,
			translated: engine.statistics.translated,
		},
	};
}

/** Comparisons of memory in a run that narrows down where it changed. */
const NARROWING = 32;

/** Runs both to their end. @returns where they differ first, or what agreed. */
export async function compareMachines(options: LockstepOptions): Promise<DifferentStretch | Agreement> {
	const { memoryInterval } = options;
	const interval = (executed: number): number => Math.floor(executed / memoryInterval);
	const everywhere = Number.POSITIVE_INFINITY;
	let outcome = await runBoth(options, (_, executed, before) => interval(executed) !== interval(before), everywhere);
	let { different } = outcome;
	if (different === undefined) return outcome.agreement;
	// Registers may differ because memory has for long.
	let from = outcome.memoryAgreed;
	while (different.stretch - from > 1) {
		const start: number = from;
		const step: number = Math.max(1, Math.floor((different.stretch - from) / NARROWING));
		const last: number = different.stretch;
		outcome = await runBoth(options, (stretch) => stretch > start && (stretch - start) % step === 0, last);
		if (outcome.different === undefined) break;
		different = outcome.different;
		from = Math.max(from, outcome.memoryAgreed);
		if (step === 1) break;
	}
	return different;
}
