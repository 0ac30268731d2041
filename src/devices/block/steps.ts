/**
 * Operations that wait only where they have to. Written as a generator that yields each promise it must wait for, an operation over a
 * file that answers at once runs to its end in one call; only one that has to wait becomes a promise itself.
 */
import type { Done } from "./image.ts";

/** An operation: `yield* wait(done)` between its steps. */
export type Steps<T = void> = Generator<Promise<void>, T, void>;

/** Waits for a part of an operation. */
export function* wait(done: Done): Steps {
	if (done !== undefined) yield done;
}

/** Runs an operation, at once as far as that is possible. */
export function run(steps: Steps): Done {
	const first = steps.next();
	return first.done === true ? undefined : finish(steps, first.value);
}

async function finish(steps: Steps, first: Promise<void>): Promise<void> {
	for (let waiting = first; ; ) {
		let next: IteratorResult<Promise<void>, void>;
		try {
			await waiting;
		} catch (error) {
			next = steps.throw(error);
			if (next.done === true) return;
			waiting = next.value;
			continue;
		}
		next = steps.next();
		if (next.done === true) return;
		waiting = next.value;
	}
}

/** Runs operations one after the other, in the order in which they are asked for. */
export class Serial {
	private last: Done;

	run(start: () => Done): Done {
		if (this.last === undefined) {
			const done = start();
			if (done !== undefined) this.follow(done);
			return done;
		}
		const next = this.last.then(start, start);
		this.follow(next);
		return next;
	}

	private follow(done: Promise<void>): void {
		const end = (): void => {
			if (this.last === quiet) this.last = undefined;
		};
		const quiet: Promise<void> = done.then(end, end);
		this.last = quiet;
	}
}
