/**
 * What one unprivileged domain may take of the store. The figures are the defaults of Xen 4.17's xenstored; domain 0 has no limits.
 */
export interface Quota {
	/** Nodes that a domain owns. */
	readonly entries: number;
	readonly watches: number;
	/** Transactions that are open at once. */
	readonly transactions: number;
	/** Nodes that one transaction reads or changes. */
	readonly transactionNodes: number;
	/** Bytes that one transaction writes, all told. */
	readonly transactionBytes: number;
	/** Bytes of a node: value, permissions, names of children and a header. */
	readonly nodeSize: number;
	readonly permissions: number;
	/** Replies that a domain has not fetched before its next request is looked at. */
	readonly outstanding: number;
	/** Bytes of messages that wait for a domain; watch events beyond it are lost. */
	readonly pendingBytes: number;
}

export const DEFAULT_QUOTA: Quota = {
	entries: 1000,
	watches: 128,
	transactions: 10,
	transactionNodes: 1024,
	transactionBytes: 512 * 1024,
	nodeSize: 2048,
	permissions: 5,
	outstanding: 20,
	pendingBytes: 2 * 1024 * 1024,
};

/** How many nodes each domain owns. */
export class EntryCounts {
	private readonly counts = new Map<number, number>();

	get(domid: number): number {
		return this.counts.get(domid) ?? 0;
	}

	add(domid: number, count: number): void {
		const sum = this.get(domid) + count;
		if (sum === 0) this.counts.delete(domid);
		else this.counts.set(domid, sum);
	}

	addAll(others: EntryCounts): void {
		for (const [domid, count] of others.counts) this.add(domid, count);
	}
}
