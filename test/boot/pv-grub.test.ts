/**
 * PV-GRUB: Debian's GRUB as a PV guest that shares nothing with Linux. It is asked what its language means, which our own reading of
 * configurations must agree with.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Host } from "../../src/index.ts";
import { PRINTED, SCRIPT } from "../toolstack/grub/language.ts";
import { hasGrub, MODULES } from "./grub-image.ts";

const MIB = 2 ** 20;

describe.runIf(hasGrub)("PV-GRUB", () => {
	let directory = "";
	beforeAll(() => {
		directory = mkdtempSync(join(tmpdir(), "paravirt-grub-"));
	});
	afterAll(() => rmSync(directory, { recursive: true }));

	it("runs as a guest, prints what its language means, and powers off", async () => {
		const [configuration, image] = [join(directory, "grub.cfg"), join(directory, "grub.bin")];
		writeFileSync(configuration, `${SCRIPT}\nhalt\n`);
		execFileSync("grub-mkstandalone", [
			...["-O", "x86_64-xen", "-o", image, "--themes=", "--locales=", "--fonts="],
			...[`--install-modules=${MODULES}`, `--modules=${MODULES}`, `boot/grub/grub.cfg=${configuration}`],
		]);
		const host = new Host({ memory: 96 * MIB, clock: "deterministic" });
		let console = "";
		const domain = await host.createDomain({ kernel: image, memory: 64 * MIB }, (created) => {
			created.console.onOutput((data) => {
				console += new TextDecoder().decode(data);
			});
		});
		const end = await domain.ended;
		domain.destroy();
		host.stop();
		expect(end.reason, `${end.crashReason}\n${console}`).toBe("poweroff");
		// biome-ignore lint/suspicious/noControlCharactersInRegex: GRUB's colours
		const lines = console.replaceAll(/\x1b\[[\d;]*m|\r/g, "").split("\n");
		expect(lines.slice(lines.indexOf(PRINTED[0] as string)).filter((line) => !line.startsWith("error: "))).toEqual([
			...PRINTED,
			"",
		]);
	}, 120_000);
});
