/** Debian's i386 kernel (686) and static busybox, for emulators without 64-bit mode: fetched by the machine's apt once, kept in the user's cache. */
import { copyFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Apt, unpackPackage } from "../src/guests/apt.ts";
import { cacheDirectory, makeComplete, readJson, writeComplete } from "../src/guests/cache.ts";
import { kernelPackages } from "../src/guests/packages.ts";

const META_PACKAGE = "linux-image-686";
const BUSYBOX_PACKAGE = "busybox-static";

export interface Files32 {
	/** Paths. */
	readonly kernel: string;
	readonly busybox: string;
	readonly release: string;
}

/** @throws GuestError where they cannot be had. */
export async function debianFiles32(): Promise<Files32> {
	const directory = join(cacheDirectory(), "bench-i386");
	const files = (release: string): Files32 => ({
		kernel: join(directory, "vmlinuz"),
		busybox: join(directory, "busybox"),
		release,
	});
	const known = (await readJson(join(directory, "guest.json"))) as { readonly release: string } | undefined;
	if (known !== undefined) return files(known.release);
	const temporary = join(cacheDirectory(), "bench-i386.fetch");
	try {
		await mkdir(temporary, { recursive: true });
		const apt = await Apt.prepare(join(temporary, "apt"), undefined, undefined, "i386");
		// One list that fails leaves the others; what is then missing is said below.
		let failure: unknown;
		await apt
			.update(() => {})
			.catch((error: unknown) => {
				failure = error;
			});
		const { names } = await kernelPackages(apt, META_PACKAGE).catch((error: unknown) => {
			throw failure ?? error;
		});
		const tree = join(temporary, "tree");
		for (const file of await apt.download([...names, BUSYBOX_PACKAGE], () => {})) await unpackPackage(file, tree);
		const boot = await readdir(join(tree, "boot"));
		const kernel = boot.find((name) => name.startsWith("vmlinuz-"));
		if (kernel === undefined) throw new Error(`${names.join(", ")}: no vmlinuz`);
		const release = kernel.slice("vmlinuz-".length);
		await makeComplete(directory, async (target) => {
			await mkdir(target, { recursive: true });
			await copyFile(join(tree, "boot", kernel), join(target, "vmlinuz"));
			const candidates = [join(tree, "usr/bin/busybox"), join(tree, "bin/busybox")];
			await writeComplete(join(target, "busybox"), await Promise.any(candidates.map((path) => readFile(path))));
			await writeComplete(join(target, "guest.json"), `${JSON.stringify({ release })}\n`);
		});
		return files(release);
	} finally {
		await rm(temporary, { recursive: true, force: true });
	}
}
