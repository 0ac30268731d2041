/** Who wants to hear of something. */
export class Listeners<T> {
	private readonly all = new Set<(value: T) => void>();

	/** Calls `listener` from now on. Returns what stops that. */
	add(listener: (value: T) => void): () => void {
		this.all.add(listener);
		return () => this.all.delete(listener);
	}

	readonly emit = (value: T): void => {
		for (const listener of this.all) listener(value);
	};
}
