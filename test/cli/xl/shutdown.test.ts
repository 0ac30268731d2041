/** `xl shutdown -w` of a domain that is faster than the command. */
import { Writable } from "node:stream";
import { expect, test } from "vitest";
import type { Arguments } from "../../../src/cli/xl/getopt.ts";
import { LIFECYCLE_VERBS } from "../../../src/cli/xl/lifecycle-verbs.ts";
import { Session } from "../../../src/cli/xl/verb.ts";
import type { DaemonClient } from "../../../src/daemon/client.ts";

/** Answers as the daemon does for one domain, which ends before the request is answered. */
class HastyDaemon {
	private end: (() => void) | undefined;

	request(method: string, _: unknown, onEvent?: (event: unknown) => void): Promise<unknown> {
		switch (method) {
			case "list":
				return Promise.resolve([{ id: 1, name: "hasty" }]);
			case "follow":
				return new Promise((resolve) => {
					this.end = () => {
						onEvent?.({ domain: 1, reason: "poweroff" });
						resolve(undefined);
					};
				});
			default:
				this.end?.();
				return Promise.resolve(undefined);
		}
	}
}

test("a domain that has ended at once is told of behind the wait for it", async () => {
	let text = "";
	const stderr = new Writable({
		write(chunk, _, done) {
			text += chunk;
			done();
		},
	});
	const session = new Session(false, { stdout: stderr, stderr });
	const args = { operands: ["hasty"], has: (option: string) => option === "w" } as unknown as Arguments;
	const { run } = LIFECYCLE_VERBS.find(({ name }) => name === "shutdown")!;
	const daemon = new HastyDaemon();
	session.daemon = () => Promise.resolve(daemon as unknown as DaemonClient);
	await run(args, session);
	expect(text).toBe("Shutting down domain 1\nWaiting for 1 domains\nDomain 1 has been shut down, reason code 0\n");
});
