/**
 * What is taken out of Debian's packages, and which those are. A kernel's packages are told by their versions and a file by what it is, not by
 * names: both have changed from release to release.
 */
import { copyFile, lstat, mkdir, open, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isBzImage, parseBzImage } from "../formats/bzimage.ts";
import { isElf } from "../formats/elf.ts";
import type { Apt } from "./apt.ts";
import { GuestError } from "./errors.ts";
import { moduleDirectory } from "./module-files.ts";
import { resolveModules } from "./modules.ts";

const META_PACKAGE = "linux-image-amd64";
export const BUSYBOX_PACKAGE = "busybox-static";

/** Every kernel's directory of modules has it (Documentation/kbuild/kbuild.rst). */
const MODULE_INDEX = "modules.builtin";
/** Enough of a kernel's file to tell it: the setup header ends before. */
const HEADER_SIZE = 1024;
const REMEDY = "Try another --suite, or give a kernel yourself: paravirt boot KERNEL.";

/** Names of the packages of the current kernel, and their version. */
export interface KernelPackages {
	readonly version: string;
	readonly names: readonly string[];
}

/** What a metapackage needs in exactly its own version, directly or not. @throws GuestError */
export async function kernelPackages(apt: Pick<Apt, "show">, metaPackage = META_PACKAGE): Promise<KernelPackages> {
	const [meta] = await apt.show([metaPackage]);
	const version = meta?.get("version") ?? "";
	const found = new Set<string>();
	let next = exactDependencies(meta, version);
	while (next.length > 0) {
		for (const name of next) found.add(name);
		const all = (await apt.show(next)).flatMap((fields) => exactDependencies(fields, version));
		next = [...new Set(all)].filter((name) => !found.has(name));
	}
	if (found.size === 0) throw new GuestError(`${metaPackage} ${version} depends on no kernel image`, REMEDY);
	return { version, names: [...found] };
}

/** Relations "NAME (= VERSION)" of a package's field Depends (deb-control(5)). */
function exactDependencies(fields: ReadonlyMap<string, string> | undefined, version: string): string[] {
	return (fields?.get("depends") ?? "").split(",").flatMap((relation) => {
		const [, name, needed] = /^\s*([a-z0-9][a-z0-9.+-]+)(?::\w+)?\s*\(=\s*([^)\s]+)\s*\)\s*$/.exec(relation) ?? [];
		return name !== undefined && needed === version ? [name] : [];
	});
}

/**
 * Copies the kernel of an unpacked package to `target`/vmlinuz, and the modules of these names, and what they need, to
 * `target`/modules.
 * @returns the kernel's release
 * @throws GuestError where there is no kernel, or it has no modules
 */
export async function storeKernel(tree: string, target: string, wanted: readonly string[]): Promise<string> {
	const image = await findFile(tree, isBzImage);
	if (image === undefined) throw new GuestError("there is no kernel in its packages", REMEDY);
	const release = parseBzImage(await readFile(image), image).kernelVersion.split(" ")[0] ?? "";
	const names = await readdir(tree, { recursive: true });
	const directory = names.find((name) => name.endsWith(join("modules", release, MODULE_INDEX)));
	if (directory === undefined) throw new GuestError(`there are no modules of Linux ${release} in its packages`, REMEDY);
	const source = await moduleDirectory(join(tree, dirname(directory)));
	const modules = await resolveModules(source, wanted);
	await mkdir(target, { recursive: true });
	await copyFile(image, join(target, "vmlinuz"));
	for (const module of modules) {
		const path = join(target, "modules", module.path);
		await mkdir(dirname(path), { recursive: true });
		await writeFile(path, module.data);
	}
	await mkdir(join(target, "modules"), { recursive: true });
	await writeFile(join(target, "modules", MODULE_INDEX), source.builtin.map((line) => `${line}\n`).join(""));
	return release;
}

/** The program of that name in an unpacked package. @throws GuestError where there is none */
export async function readProgram(tree: string, name: string): Promise<Uint8Array> {
	const path = await findFile(tree, isElf, name);
	if (path === undefined) throw new GuestError(`there is no program ${name} in its package`, "Try another --suite.");
	return readFile(path);
}

/** A regular file by its first bytes, and by its name where that is given. */
async function findFile(tree: string, isIt: (head: Uint8Array) => boolean, name?: string): Promise<string | undefined> {
	for (const path of await readdir(tree, { recursive: true })) {
		if (name !== undefined && basename(path) !== name) continue;
		const file = join(tree, path);
		if ((await lstat(file)).isFile() && isIt(await readHead(file))) return file;
	}
	return undefined;
}

async function readHead(path: string): Promise<Uint8Array> {
	const handle = await open(path);
	try {
		const { buffer, bytesRead } = await handle.read(new Uint8Array(HEADER_SIZE), 0, HEADER_SIZE, 0);
		return buffer.subarray(0, bytesRead);
	} finally {
		await handle.close();
	}
}
