import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { assembleGuest, canAssemble, guestSources } from "../../guests/build.ts";
import { runGuest } from "../../guests/run.ts";

/** What src/xen/fast does in WebAssembly is what run.ts does in TypeScript: the same answers after the same number of instructions, counted alike. */
describe.runIf(canAssemble)("fast paths change nothing that a guest or its owner can see", () => {
	let directory = "";
	beforeAll(() => {
		directory = mkdtempSync(join(tmpdir(), "paravirt-guests-"));
	});
	afterAll(() => rmSync(directory, { recursive: true }));

	for (const guest of guestSources()) {
		it(guest.name, async () => {
			const kernel = assembleGuest(guest, directory);
			const with_ = await runGuest(kernel);
			const without = await runGuest(kernel, 60, { emittedExits: false });
			expect(with_).toEqual(without);
		});
	}
});
