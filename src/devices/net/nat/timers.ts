/** Many deadlines over one timer: a heap of them. A deadline that its owner does not want any more comes all the same and is ignored. */
interface Entry {
	readonly deadline: number;
	readonly callback: () => void;
}

export class Deadlines {
	private readonly heap: Entry[] = [];
	private running = false;

	constructor(
		private readonly now: () => number,
		private readonly setTimer: (deadline: number, callback: () => void) => void,
	) {}

	/** Calls `callback` once, not before `deadline`. */
	add(deadline: number, callback: () => void): void {
		const { heap } = this;
		const entry = { deadline, callback };
		let at = heap.push(entry) - 1;
		while (at > 0) {
			const parent = (at - 1) >>> 1;
			const above = heap[parent] as Entry;
			if (above.deadline <= deadline) break;
			heap[at] = above;
			at = parent;
		}
		heap[at] = entry;
		if (at === 0 && !this.running) this.arm();
	}

	/** Forgets all. */
	clear(): void {
		this.heap.length = 0;
		this.arm();
	}

	private readonly expire = (): void => {
		const now = this.now();
		this.running = true;
		// What is added meanwhile for now or before waits for the next time: no callback can keep this busy.
		const due: Entry[] = [];
		for (let first = this.heap[0]; first !== undefined && first.deadline <= now; first = this.heap[0]) {
			due.push(first);
			this.removeFirst();
		}
		for (const { callback } of due) callback();
		this.running = false;
		this.arm();
	};

	private arm(): void {
		this.setTimer(this.heap[0]?.deadline ?? Number.POSITIVE_INFINITY, this.expire);
	}

	private removeFirst(): void {
		const { heap } = this;
		const last = heap.pop() as Entry;
		if (heap.length === 0) return;
		let at = 0;
		for (;;) {
			let child = 2 * at + 1;
			if (child >= heap.length) break;
			if (child + 1 < heap.length && (heap[child + 1] as Entry).deadline < (heap[child] as Entry).deadline) child++;
			const below = heap[child] as Entry;
			if (below.deadline >= last.deadline) break;
			heap[at] = below;
			at = child;
		}
		heap[at] = last;
	}
}
