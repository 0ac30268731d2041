import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { assembleGuest, canAssemble, guestSources } from "../guests/build.ts";
import { runGuest } from "../guests/run.ts";
import { differences } from "../oracle/compare.ts";
import { verdictsFile } from "../oracle/verdicts.ts";

/** Tiny guests (test/guests) say what the hypervisor answers; real Xen 4.17 has said it before (npm run test:xen -- --record). */
describe.runIf(canAssemble)("tiny guests get real Xen's answers", () => {
	let directory = "";
	beforeAll(() => {
		directory = mkdtempSync(join(tmpdir(), "paravirt-guests-"));
	});
	afterAll(() => rmSync(directory, { recursive: true }));

	for (const guest of guestSources()) {
		it(guest.name, async () => {
			const file = verdictsFile(guest.name);
			expect(existsSync(file), `${file} is missing: npm run test:xen -- --record`).toBe(true);
			const { verdicts, log } = await runGuest(assembleGuest(guest, directory));
			expect(differences(guest.name, readFileSync(file, "utf8"), verdicts)).toEqual([]);
			expect(log).not.toContain("failure of the hypervisor");
		});
	}

	it("tells a verdict that differs", () => {
		expect(differences("none", "a=1\nb=2\nend=crash\n", "a=1\nb=3\nend=poweroff\n")).toEqual([
			"b: real Xen 2, ours 3",
			"end: real Xen crash, ours poweroff",
		]);
	});

	it("repeats a guest exactly", async () => {
		const guest = guestSources().find(({ name }) => name === "sched");
		if (guest === undefined) throw new Error("no guest sched");
		const kernel = assembleGuest(guest, directory);
		expect(await runGuest(kernel)).toEqual(await runGuest(kernel));
	});
});
