/** The commands as the package has them, but of the present sources: a program starts in a tenth of the time. */
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export interface Bundle {
	/** `paravirt`, for {@link runProgram}. */
	readonly paravirt: readonly [string, string];
	close(): void;
}

/** Bundles the command into a package of its own, with this package's dependencies. */
export async function bundleCommand(): Promise<Bundle> {
	const root = fileURLToPath(new URL("../../", import.meta.url));
	const directory = mkdtempSync(join(tmpdir(), "paravirt-bundle-"));
	cpSync(join(root, "package.json"), join(directory, "package.json"));
	symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
	await build({
		absWorkingDir: root,
		entryPoints: ["src/cli/main.ts"],
		outdir: join(directory, "dist/cli"),
		bundle: true,
		splitting: true,
		packages: "external",
		format: "esm",
		platform: "node",
		target: "node20",
		logLevel: "warning",
	});
	return {
		paravirt: [process.execPath, join(directory, "dist/cli/main.js")],
		close: () => rmSync(directory, { recursive: true, force: true }),
	};
}
