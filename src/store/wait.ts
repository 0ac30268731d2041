/** Waiting for what others write into the store, as a toolstack does for a guest's answer. */
import type { StoreClient } from "./client.ts";

/** Waits for a change below `path` after which `condition` holds, at most `timeout` milliseconds. */
export async function waitUntil(
	store: StoreClient,
	path: string,
	condition: () => boolean,
	timeout: number,
): Promise<void> {
	await new Promise<void>((resolve) => {
		let stop: (() => void) | undefined;
		const timer = setTimeout(() => done(), timeout);
		const done = (): void => {
			clearTimeout(timer);
			stop?.();
			resolve();
		};
		stop = store.watch(path, () => {
			if (condition()) done();
		});
		if (condition()) done();
	});
}
