/** Kernels of Debian's other suites, where the machine's apt can fetch them. */
import { describe, expect, it } from "vitest";
import { debianGuest } from "../../src/guests/debian.ts";
import { GuestError } from "../../src/guests/errors.ts";
import { canAssemble } from "../host/echo-guest.ts";
import { SHORT_SESSION } from "./checks.ts";
import { complaints, debianImages, hypervisorComplaints, runSession } from "./guest.ts";

const SUITES = ["bookworm-backports", "trixie", "sid"];

/** The reason where an error says that a suite cannot be fetched here; other errors are thrown. */
function unreachable(error: unknown): string {
	if (error instanceof GuestError && /^apt-get|this machine has no|no Debian package source/.test(error.message)) {
		return error.message;
	}
	throw error;
}

describe.runIf(canAssemble)("kernels of other suites", () => {
	it.for(SUITES)("%s", { timeout: 300_000 }, async (suite, { skip }) => {
		const reason = await debianGuest({ suite }).then(() => undefined, unreachable);
		if (reason !== undefined) skip(`Debian's ${suite}: ${reason}`);
		const session = await runSession(await debianImages({ suite }), SHORT_SESSION);
		for (const { name, expected, status = 0 } of SHORT_SESSION) {
			expect.soft(session.answers.get(name), name).toEqual({ output: expected, status });
		}
		expect(session.end).toEqual({ reason: "poweroff", crashReason: undefined, crash: undefined, action: "preserve" });
		expect(complaints(session.console)).toEqual([]);
		expect(hypervisorComplaints(session.log)).toEqual([]);
	});
});
