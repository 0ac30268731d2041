/** Debian's kernel on an AMD processor: 32-bit programs enter by SYSCALL there, and no leaf of CPUID gives the frequency. */
import { describe, expect, it } from "vitest";
import { canAssemble } from "../host/echo-guest.ts";
import { SHORT_SESSION } from "./checks.ts";
import { type Check, complaints, debianImages, hypervisorComplaints, runSession } from "./guest.ts";

const CHECKS: readonly Check[] = [
	{ name: "maker", command: "grep -m 1 vendor_id /proc/cpuinfo", expected: "vendor_id\t: AuthenticAMD\n" },
	{ name: "frequency", command: "grep -m 1 'cpu MHz' /proc/cpuinfo", expected: "cpu MHz\t\t: 1000.000\n" },
	{
		name: "what it must be guarded against",
		command: "cd /sys/devices/system/cpu/vulnerabilities; grep -L '^Not affected' *; cd",
		expected: "spectre_v1\nspectre_v2\n",
	},
	...SHORT_SESSION,
];

describe.runIf(canAssemble)("Debian's kernel on an AMD processor", () => {
	it("runs its programs, 32-bit ones too, and complains of nothing", { timeout: 300_000 }, async () => {
		const session = await runSession(await debianImages(), CHECKS, { processor: { vendor: "amd" } });
		for (const { name, expected, status = 0 } of CHECKS) {
			expect.soft(session.answers.get(name), name).toEqual({ output: expected, status });
		}
		expect(session.end).toEqual({ reason: "poweroff", crashReason: undefined, crash: undefined, action: "preserve" });
		expect(complaints(session.console)).toEqual([]);
		expect(hypervisorComplaints(session.log)).toEqual([]);
	});
});
