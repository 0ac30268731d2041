/**
 * The pieces of a real Xen host from Debian's packages, in the user's cache: hypervisor, dom0's kernel, and an initramfs with
 * the toolstack. Once made, they need no network.
 */
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { type ArchiveEntry, FileType, writeArchive } from "../../src/formats/cpio.ts";
import { Apt, unpackPackage } from "../../src/guests/apt.ts";
import { cacheDirectory, makeComplete } from "../../src/guests/cache.ts";
import { kernelPackages } from "../../src/guests/packages.ts";

export interface XenHost {
	/** Path of the hypervisor, an ELF file. */
	readonly xen: string;
	/** Path of dom0's kernel. */
	readonly kernel: string;
	/** Path of dom0's initramfs, to which the guests are appended. */
	readonly initramfs: string;
}

const XEN = "4.17";
const LIBRARIES = ["call1", "devicemodel1", "evtchn1", "foreignmemory1", "gnttab1", "hypfs1", "store4", "toolcore1"];
const PACKAGES = [
	"busybox-static",
	`xen-hypervisor-${XEN}-amd64`,
	`xen-utils-${XEN}`,
	"xen-utils-common",
	"xenstore-utils",
	`libxenmisc${XEN}`,
	"libxentoollog1",
	...LIBRARIES.map((name) => `libxen${name}`),
	..."libyajl2 libzstd1 liblzma5 zlib1g libuuid1 libncurses6 libtinfo6 libc6 libgcc-s1".split(" "),
];
const PROGRAMS = ["xl", "xenstored", "xenconsoled", "xen-init-dom0", "libxl-save-helper"];
const MODULES = ["xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs"];
const LIBRARY_PATH = "lib/x86_64-linux-gnu";

/** @throws GuestError where Debian's packages cannot be had. */
export async function xenHost(): Promise<XenHost> {
	const directory = join(cacheDirectory(), "real-xen");
	const host = {
		xen: join(directory, "xen"),
		kernel: join(directory, "kernel"),
		initramfs: join(directory, "initramfs.gz"),
	};
	const complete = await stat(host.initramfs).catch(() => undefined);
	if (complete === undefined) await makeComplete(directory, make);
	return host;
}

async function make(directory: string): Promise<void> {
	await mkdir(directory, { recursive: true });
	const temporary = await mkdtemp(join(directory, "fetch-"));
	const apt = await Apt.prepare(join(temporary, "apt"), undefined);
	await apt.update(() => {});
	const { names } = await kernelPackages(apt);
	const tree = join(temporary, "tree");
	for (const file of await apt.download([...names, ...PACKAGES], () => {})) await unpackPackage(file, tree);
	const boot = await readdir(join(tree, "boot"));
	const inBoot = (pattern: RegExp): string => join(tree, "boot", boot.find((name) => pattern.test(name)) ?? "none");
	await writeFile(join(directory, "xen"), gunzipSync(await readFile(inBoot(/^xen-.*\.gz$/))));
	await writeFile(join(directory, "kernel"), await readFile(inBoot(/^vmlinuz-/)));
	await writeFile(join(directory, "initramfs.gz"), gzipSync(writeArchive(await initramfs(tree)), { level: 6 }));
	await rm(temporary, { recursive: true });
}

function directory(path: string): ArchiveEntry {
	return { path, type: FileType.directory, permissions: 0o755, data: new Uint8Array(0) };
}

function file(path: string, data: Uint8Array): ArchiveEntry {
	return { path, type: FileType.regular, permissions: 0o755, data };
}

function link(path: string, target: string): ArchiveEntry {
	return { path, type: FileType.symbolicLink, permissions: 0o777, data: new TextEncoder().encode(target) };
}

async function initramfs(tree: string): Promise<ArchiveEntry[]> {
	const programs = `usr/lib/xen-${XEN}/bin`;
	const directories = ["bin", "dev", "etc", "etc/xen", "guests", "lib", LIBRARY_PATH, "lib64", "modules"];
	const entries = [...directories, "usr", "usr/lib", `usr/lib/xen-${XEN}`, programs, "var"].map(directory);
	const console = { major: 5, minor: 1 };
	entries.push({ ...file("dev/console", new Uint8Array(0)), type: FileType.characterDevice, device: console });
	entries.push(file("bin/busybox", await readFile(join(tree, "bin/busybox"))));
	entries.push(file("etc/xen/xl.conf", new Uint8Array(0)));
	for (const name of PROGRAMS) {
		entries.push(file(`${programs}/${name}`, await readFile(join(tree, programs, name))));
	}
	const modules = await readdir(join(tree, "lib/modules"), { recursive: true });
	for (const [order, name] of MODULES.entries()) {
		const path = modules.find((candidate) => candidate.endsWith(`/${name}.ko`)) ?? "none";
		entries.push(file(`modules/${order}-${name}.ko`, await readFile(join(tree, "lib/modules", path))));
	}
	for (const folder of [`usr/${LIBRARY_PATH}`, LIBRARY_PATH]) {
		for (const name of await readdir(join(tree, folder))) {
			if (!/\.so(\.|$)/.test(name)) continue;
			const path = join(tree, folder, name);
			const target = (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined;
			const entry = `${LIBRARY_PATH}/${name}`;
			entries.push(target === undefined ? file(entry, await readFile(path)) : link(entry, target));
		}
	}
	entries.push(link("lib64/ld-linux-x86-64.so.2", `/${LIBRARY_PATH}/ld-linux-x86-64.so.2`));
	return entries;
}
