/**
 * The initramfs of a guest: busybox with all its applets, kernel modules with the index files that modprobe needs, and /init.
 * Not compressed: unpacking a compressed one would be the guest's work, at an emulator's pace.
 */
import { type ArchiveEntry, FileType, writeArchive } from "../formats/cpio.ts";
import { HOTPLUG, HOTPLUG_FILE, INIT } from "./init.ts";
import { fileSystems, type KernelModule, modulesAlias, modulesDep } from "./modules.ts";
import {
	COMMAND_FILE,
	ENDING_PROGRAMS,
	endingProgram,
	INITTAB,
	SESSION,
	SESSION_FILE,
	SHUTDOWN,
	UNMOUNT,
	UNMOUNT_FILE,
} from "./session.ts";

/** Drivers and file systems that a guest may need; what a kernel has built in, or not at all, is skipped. */
export const GUEST_MODULES: readonly string[] = [
	"xen-blkfront",
	"xen-netfront",
	"9p",
	"9pnet_xen",
	"ext4",
	"overlay",
	"squashfs",
	"loop",
	"xen_wdt",
	// ext4 asks the crypto layer for crc32c by name, which no dependency shows.
	"crc32c_generic",
	"crc32c-intel",
];

export interface InitramfsContents {
	/** A statically linked busybox. */
	readonly busybox: Uint8Array;
	/** The kernel's release, and modules of exactly that kernel. */
	readonly release?: string;
	readonly modules?: readonly KernelModule[];
	/** Lines of the kernel's modules.builtin, so that modprobe knows what is there already. */
	readonly builtin?: readonly string[];
	/** Further files, which may also replace the ones made here; their directories are made. */
	readonly files?: readonly ArchiveEntry[];
}

const DIRECTORIES: readonly (readonly [path: string, permissions: number])[] = [
	["bin", 0o755],
	["dev", 0o755],
	["etc", 0o755],
	["mnt", 0o755],
	["proc", 0o555],
	["root", 0o700],
	["run", 0o755],
	["sys", 0o555],
	["tmp", 0o1777],
	["usr", 0o755],
	["var", 0o755],
];

const TEXT_FILES: Readonly<Record<string, string>> = {
	"etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
	"etc/inittab": INITTAB,
	"etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
	"etc/passwd": "root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
};

/** What busybox's DHCP client calls when it has got an address, or lost it. */
const DHCP_SCRIPT = `#!/bin/sh
case "$1" in
deconfig) ip addr flush dev "$interface"; ip link set "$interface" up ;;
bound | renew)
	ip addr replace "$ip/\${mask:-24}" dev "$interface"
	[ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
	for each in $router; do ip route replace default via "$each" dev "$interface"; done
	{
		[ -n "$domain" ] && echo "search $domain"
		for each in $dns; do echo "nameserver $each"; done
	} >/etc/resolv.conf
	;;
esac
`;

const PROGRAMS: Readonly<Record<string, string>> = {
	init: INIT,
	[HOTPLUG_FILE]: HOTPLUG,
	[SESSION_FILE]: SESSION,
	[UNMOUNT_FILE]: UNMOUNT,
	"bin/shutdown": SHUTDOWN,
	"etc/udhcpc/default.script": DHCP_SCRIPT,
	...Object.fromEntries(ENDING_PROGRAMS.map((name) => [`bin/${name}`, endingProgram(name)])),
};

/** One directory for all programs, whatever path they are called by. */
const LINKS: Readonly<Record<string, string>> = { sbin: "bin", "usr/bin": "../bin", "usr/sbin": "../bin" };

/** A regular file for {@link InitramfsContents.files}. */
export function regularFile(path: string, data: Uint8Array | string, permissions = 0o644): ArchiveEntry {
	const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
	return { path, type: FileType.regular, permissions, data: bytes };
}

function directory(path: string, permissions = 0o755): ArchiveEntry {
	return { path, type: FileType.directory, permissions, data: new Uint8Array(0) };
}

function symbolicLink(path: string, target: string): ArchiveEntry {
	return { path, type: FileType.symbolicLink, permissions: 0o777, data: new TextEncoder().encode(target) };
}

/** A program with its arguments, for {@link COMMAND_WORD}. */
export function commandFile(command: readonly string[]): ArchiveEntry {
	const words = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`);
	return regularFile(COMMAND_FILE, `#!/bin/sh\nexec ${words.join(" ")}\n`, 0o755);
}

/** Builds the archive that is given to the kernel as its ramdisk. Deterministic. */
export function buildInitramfs(contents: InitramfsContents): Uint8Array {
	const entries = new Map<string, ArchiveEntry>();
	const add = (entry: ArchiveEntry): void => {
		const slash = entry.path.lastIndexOf("/");
		const parent = entry.path.slice(0, Math.max(slash, 0));
		if (parent !== "" && !entries.has(parent)) add(directory(parent));
		entries.set(entry.path, entry);
	};
	for (const [path, permissions] of DIRECTORIES) add(directory(path, permissions));
	for (const [path, target] of Object.entries(LINKS)) add(symbolicLink(path, target));
	// The kernel opens it for /init's standard input and output before /init can mount devtmpfs.
	add({
		path: "dev/console",
		type: FileType.characterDevice,
		permissions: 0o600,
		data: new Uint8Array(0),
		device: { major: 5, minor: 1 },
	});
	for (const [path, text] of Object.entries(TEXT_FILES)) add(regularFile(path, text));
	add(regularFile("bin/busybox", contents.busybox, 0o755));
	// The other applets' links are made by /init: which there are, busybox itself knows.
	add(symbolicLink("bin/sh", "busybox"));
	for (const [path, text] of Object.entries(PROGRAMS)) add(regularFile(path, text, 0o755));
	add(regularFile("etc/filesystems", fileSystems(contents.modules ?? [])));
	if (contents.release !== undefined) {
		const root = `lib/modules/${contents.release}`;
		const modules = contents.modules ?? [];
		add(regularFile(`${root}/modules.dep`, modulesDep(modules)));
		add(regularFile(`${root}/modules.alias`, modulesAlias(modules)));
		// busybox takes an absent file for an empty one, but kmod complains.
		add(regularFile(`${root}/modules.symbols`, ""));
		add(regularFile(`${root}/modules.builtin`, (contents.builtin ?? []).map((line) => `${line}\n`).join("")));
		for (const module of modules) add(regularFile(`${root}/${module.path}`, module.data));
	}
	for (const entry of contents.files ?? []) add(entry);
	return writeArchive([...entries.values()]);
}
