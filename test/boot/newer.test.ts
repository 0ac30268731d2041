/** Kernels of Debian's suites as a machine gets them that has none yet: each begins with an empty cache, if the machine's apt can fetch it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { debianGuest } from "../../src/guests/debian.ts";
import { GuestError } from "../../src/guests/errors.ts";
import { canAssemble } from "../host/echo-guest.ts";
import { SHORT_SESSION } from "./checks.ts";
import { complaints, debianImages, hypervisorComplaints, runSession } from "./guest.ts";

/** The first is the machine's own. */
const SUITES = [undefined, "bookworm-backports", "trixie", "sid"];
const caches = mkdtempSync(join(tmpdir(), "paravirt-caches-"));
afterAll(() => rmSync(caches, { recursive: true }));

/** The reason where an error says that a suite cannot be fetched here; other errors are thrown. */
function unreachable(error: unknown): string {
	if (
		error instanceof GuestError &&
		/apt-get .* failed|this machine has no|no Debian package source/.test(error.message)
	) {
		return error.message;
	}
	throw error;
}

describe.runIf(canAssemble)("kernels from an empty cache", () => {
	it.for(SUITES)("of the suite %s", { timeout: 600_000 }, async (suite, { skip }) => {
		const cache = join(caches, suite ?? "own");
		const reason = await debianGuest({ suite, cache }).then(() => undefined, unreachable);
		if (reason !== undefined) skip(`Debian's ${suite}: ${reason}`);
		const session = await runSession(await debianImages({ suite, cache }), SHORT_SESSION);
		for (const { name, expected, status = 0 } of SHORT_SESSION) {
			expect.soft(session.answers.get(name), name).toEqual({ output: expected, status });
		}
		expect(session.end).toEqual({ reason: "poweroff", crashReason: undefined, crash: undefined, action: "preserve" });
		expect(complaints(session.console)).toEqual([]);
		expect(hypervisorComplaints(session.log)).toEqual([]);
	});
});
