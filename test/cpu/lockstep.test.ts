/** Both tiers in lockstep over a small guest, and the divergence finder's own test: a fault put into one translated instruction is found and named. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canAssemble } from "../guests/build.ts";
import type { LockstepOptions } from "./lockstep/compare.ts";
import { injectFault } from "./lockstep/inject.ts";
import { lockstep } from "./lockstep/lockstep.ts";

describe.skipIf(!canAssemble)("both tiers in lockstep", () => {
	let directory: string;
	let options: LockstepOptions;
	let undo: () => void = () => {};

	beforeAll(() => {
		directory = mkdtempSync(join(tmpdir(), "paravirt-lockstep-"));
		const object = join(directory, "guest.o");
		const kernel = join(directory, "guest");
		execFileSync("as", ["--64", "-o", object, fileURLToPath(new URL("lockstep/guest.S", import.meta.url))]);
		execFileSync("ld", ["-N", "--no-warn-rwx-segments", "-Ttext=0x100000", "-e", "entry", "-o", kernel, object]);
		options = {
			kernel: readFileSync(kernel),
			memory: 16 * 2 ** 20,
			input: "",
			reference: { tier: "interpreter" },
			tested: { tier: "both", hotCount: 50 },
			memoryInterval: 3_000_000,
			limit: Number.POSITIVE_INFINITY,
		};
	});
	afterAll(() => {
		undo();
		rmSync(directory, { recursive: true, force: true });
	});

	test("a guest that computes leaves the same registers and memory at every exit", async () => {
		const result = await lockstep(options);
		if (!("agreement" in result)) throw new Error(result.divergence.culprit?.report ?? "they differ");
		const { instructions, translated } = result.agreement;
		expect(instructions).toBeGreaterThan(8_000_000);
		expect(translated / instructions).toBeGreaterThan(0.3);
	});

	test("a wrong instruction in regions is found and named", async () => {
		undo = injectFault("bswap", 3);
		const result = await lockstep(options);
		undo();
		if (!("divergence" in result)) throw new Error("they agree");
		const { different, culprit } = result.divergence;
		expect(different.what).toBe("registers");
		expect(culprit?.report).toMatch(/First different instruction: bswap +%?ebx \(bswap\), 0fcb at 0x1000/);
		expect(culprit?.exact).toBe(true);
	});
});
