/** libxlutil, which xl reads its configurations with: Debian's libxen-dev has it. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("xlu.c", import.meta.url));

/** Why it cannot be asked; undefined if it can. */
export function xluMissing(): string | undefined {
	const probe = spawnSync("gcc", ["-E", "-x", "c", "-"], { input: "#include <libxlutil.h>\n" });
	return probe.status === 0 ? undefined : "libxen-dev or gcc is missing";
}

/** What it makes of disk specifications, each of one line: its fields, or "refused". */
export function xluDisks(specifications: readonly string[]): readonly string[] {
	const folder = mkdtempSync(join(tmpdir(), "paravirt-xlu-"));
	try {
		const program = join(folder, "xlu");
		execFileSync("gcc", ["-O1", "-o", program, SOURCE, "-lxlutil", "-lxenlight"]);
		const input = specifications.map((each) => `${each}\n`).join("");
		return execFileSync(program, { input, encoding: "utf8", maxBuffer: 2 ** 26 })
			.trimEnd()
			.split("\n");
	} finally {
		rmSync(folder, { recursive: true });
	}
}
