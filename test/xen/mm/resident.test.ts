/** What guests can make the host's memory grow to: by what they have at the most, whatever they do, and not by what earlier ones had. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { assembleGuest, canAssemble, guestCases } from "../../guests/build.ts";

const MIB = 2 ** 20;
/** What else a process grows by: code, V8's heap. Without what is tested here it is several hundred. */
const BESIDES = 48 * MIB;
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

interface Grown {
	readonly said: readonly string[];
	/** Bytes of resident memory. */
	readonly grown: number;
}

describe.runIf(canAssemble)("resident memory", () => {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-resident-"));
	afterAll(() => rmSync(directory, { recursive: true }));
	const kernels = new Map(
		guestCases(here("resident.S")).map((guest) => [guest.define, assembleGuest(guest, directory)] as const),
	);
	const run = async (name: string, number: number, rounds: number, mebibytes: number): Promise<Grown> => {
		const kernel = kernels.get(`CASE_${name}`)!;
		const args = ["--import", "tsx", here("resident-run.ts"), kernel, ...[number, rounds, mebibytes].map(String)];
		const { stdout } = await promisify(execFile)(process.execPath, args);
		return JSON.parse(stdout) as Grown;
	};

	it.each([
		["loops", 1, "given=1022\norder-9=300\norder-0=0x186a0\n"],
		["loops", 2, "given=1022\norder-9=300\norder-0=0x186a0\n"],
		["exchange", 1, "given=1022\ntaken=512\nexchanges=300\n"],
	])("does not grow by extents that come and go: %s, %i guests", async (name, number, says) => {
		const { said, grown } = await run(name, number, 1, 16);
		expect(said).toEqual(Array.from({ length: number }, () => says));
		expect(grown).toBeLessThan(BESIDES + number * 16 * MIB);
	});

	it.each(["fragments", "mixed"])("does not grow by extents that are kept in part: %s", async (name) => {
		const { said, grown } = await run(name, 1, 1, 16);
		// It is served at first, and refused when it has had its share.
		expect(Number(/^given=1022\nextents=(\d+)\n$/.exec(said[0]!)![1])).toBeGreaterThan(0);
		expect(grown).toBeLessThan(BESIDES + 16 * MIB);
	});

	it("does not grow by what ended guests had and never used", async () => {
		const { said, grown } = await run("idle", 1, 3, 400);
		expect(said).toEqual(Array.from({ length: 3 }, () => "given=1022\n"));
		expect(grown).toBeLessThan(BESIDES + 16 * MIB);
	});
});
