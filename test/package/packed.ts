/** The package as it is published: packed by npm out of a copy of the sources, and installed for a program beside. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const execute = promisify(execFile);

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const CONTENTS = [
	"package.json",
	"tsconfig.json",
	"tsconfig.build.json",
	"src",
	"docs",
	"README.md",
	"CHANGELOG.md",
	"LICENSE",
];

export interface PackedPackage {
	/** Where programs that use it are: its node_modules has the package and what that depends on. */
	readonly directory: string;
	/** Makes a package of this repository's visible to programs there. */
	link(name: string): void;
	close(): void;
}

export async function packPackage(): Promise<PackedPackage> {
	const scratch = mkdtempSync(join(tmpdir(), "paravirt-packed-"));
	const [copy, directory] = [join(scratch, "copy"), join(scratch, "program")];
	mkdirSync(copy);
	for (const name of CONTENTS) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
	symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
	await execute("npm", ["pack", "--silent", "--pack-destination", scratch], { cwd: copy });
	const tarball = readdirSync(scratch).find((name) => name.endsWith(".tgz")) as string;
	const installed = join(directory, "node_modules/paravirt");
	mkdirSync(installed, { recursive: true });
	await execute("tar", ["-xf", join(scratch, tarball), "--strip-components=1", "-C", installed]);
	writeFileSync(join(directory, "package.json"), '{ "type": "module" }\n');
	const link = (name: string): void => {
		const to = join(directory, "node_modules", name);
		mkdirSync(dirname(to), { recursive: true });
		symlinkSync(join(ROOT, "node_modules", name), to);
	};
	return { directory, link, close: () => rmSync(scratch, { recursive: true, force: true }) };
}
