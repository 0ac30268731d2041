/**
 * A disk image with a Debian system: mmdebstrap makes the system out of the machine's own mirror, mke2fs a file system of it. As root, or
 * with user namespaces or fakechroot as mmdebstrap finds them, and fakeroot for the rest.
 *
 * The system boots by a kernel from outside with our initramfs (root=/dev/xvda) and by GRUB on the disk, which reads /boot/grub/grub.cfg.
 */
import { chmod, mkdir, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { explainDirectory, makeTemporary } from "../platform/node/directories.ts";
import { systemSources } from "./apt.ts";
import type { ProgressListener } from "./debian.ts";
import { GuestError } from "./errors.ts";
import { debianSources, formatSources, type PackageSource, withSuite } from "./sources.ts";
import { runTool } from "./tools.ts";

export interface ImageOptions {
	/** Bytes of the image; only what is used takes room of the host's. */
	readonly size: number;
	/** A suite of the machine's Debian mirror; undefined: the machine's own. */
	readonly suite?: string | undefined;
	/** Packages beside {@link BASE_PACKAGES}. */
	readonly packages?: readonly string[];
	/** With linux-image-amd64, an initrd and a GRUB configuration (the default). */
	readonly kernel?: boolean;
	readonly hostname?: string;
	readonly progress?: ProgressListener;
	/** Where the tree is unpacked; by default beside the image. */
	readonly scratch?: string;
}

/** What makes a system of Debian's essential packages: init, devices, a network, and what one looks at them with. */
export const BASE_PACKAGES: readonly string[] = [
	...["systemd-sysv", "udev", "dbus", "debian-archive-keyring", "netbase", "e2fsprogs", "kmod"],
	...["iproute2", "iputils-ping", "procps", "systemd-resolved"],
];
const KERNEL_PACKAGES: readonly string[] = ["linux-image-amd64", "initramfs-tools"];
/** Up to Debian 11 it is a part of systemd. */
const WITHOUT_RESOLVED = ["buster", "bullseye"];

/** Files of the system. Links are "-> TARGET". */
function systemFiles(hostname: string): Readonly<Record<string, string>> {
	const wanted = "etc/systemd/system/multi-user.target.wants";
	return {
		"etc/hostname": `${hostname}\n`,
		"etc/hosts": `127.0.0.1\tlocalhost\n127.0.1.1\t${hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n`,
		"etc/fstab": "LABEL=debian-root\t/\text4\terrors=remount-ro\t0\t1\n",
		"etc/default/locale": "LANG=C.UTF-8\n",
		// Every interface that a virtual machine has asks for an address by DHCP.
		"etc/systemd/network/80-dhcp.network": "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n",
		[`${wanted}/systemd-networkd.service`]: "-> /lib/systemd/system/systemd-networkd.service",
		// Looks for snapshots of LVM's, of which there are none, for several seconds.
		"etc/systemd/system/e2scrub_reap.service": "-> /dev/null",
		"boot/grub/grub.cfg": [
			"# For GRUB as the boot loader of a Xen guest (PV-GRUB). /vmlinuz and /initrd.img follow the newest kernel.",
			"set timeout=1",
			'menuentry "Debian" {',
			"\tlinux /vmlinuz root=LABEL=debian-root ro console=hvc0 quiet",
			"\tinitrd /initrd.img",
			"}",
			"",
		].join("\n"),
	};
}

/** For the kernel's own initrd: only what a guest's root file system needs, in a format that the domain builder unpacks. */
const INITRD_FILES: Readonly<Record<string, string>> = {
	"etc/initramfs-tools/conf.d/paravirt": "MODULES=list\nCOMPRESS=gzip\n",
	"etc/initramfs-tools/hooks/paravirt": [
		"#!/bin/sh",
		'[ "$1" = prereqs ] && exit 0',
		". /usr/share/initramfs-tools/hook-functions",
		"manual_add_modules xen-blkfront ext4 crc32c_generic",
		"",
	].join("\n"),
};

/** apt's options of the machine that its mirror may need: proxies, and what its clock allows. */
const APT_OPTIONS = /^Acquire::(?:https?::Proxy(?:::\S+)?|Check-Valid-Until|Check-Date) "[^"]+";$/;

const PLACE_REMEDY = "Name a file in a directory that you can write to";
const remedies = {
	missing: "Install it: apt-get install mmdebstrap e2fsprogs fakeroot",
	failed: "Check the network, the machine's apt sources, and the names of the packages.",
};

/**
 * Makes the image.
 * @param file where; an existing file is replaced once the new one is complete
 * @throws GuestError where the machine has no Debian sources or not the tools, or the packages do not fit
 */
export async function createImage(file: string, options: ImageOptions): Promise<void> {
	const { hostname = "debian", kernel = true, progress, suite } = options;
	const sources = await imageSources(suite);
	const directory = resolve(options.scratch ?? dirname(file));
	const scratch = makeTemporary(directory, ".paravirt-image-", PLACE_REMEDY);
	const cwd = scratch;
	try {
		await writeFiles(join(scratch, "early"), kernel ? INITRD_FILES : {});
		await writeFiles(join(scratch, "late"), systemFiles(hostname));
		await writeFile(join(scratch, "debian.sources"), formatSources(sources));
		const base = WITHOUT_RESOLVED.includes(suite ?? (sources[0]?.suites[0] as string))
			? BASE_PACKAGES.filter((name) => name !== "systemd-resolved")
			: BASE_PACKAGES;
		const packages = [...base, ...(kernel ? KERNEL_PACKAGES : []), ...(options.packages ?? [])];
		const aptOptions = (await runTool("apt-config", ["dump"], { cwd, remedies }))
			.split("\n")
			.filter((line) => APT_OPTIONS.test(line));
		const done = progress?.(`Making a Debian system of ${packages.length} packages and what they depend on`);
		await runTool(
			"mmdebstrap",
			[
				...["--variant=minbase", "--mode=auto", "--architectures=amd64", "--format=tar"],
				`--include=${packages.join(",")}`,
				...aptOptions.map((line) => `--aptopt=${line}`),
				// Before the kernel's package makes its initrd.
				`--essential-hook=cp -R ${quote(join(scratch, "early"))}/. "$1"/`,
				...[sources[0]?.suites[0] as string, join(scratch, "system.tar"), join(scratch, "debian.sources")],
			],
			{ cwd, remedies, title: "mmdebstrap", onLine: stepCounter((fraction) => done?.(fraction)) },
		);
		progress?.("Making a file system of it");
		const image = join(scratch, "image");
		await writeFile(image, "");
		await truncate(image, options.size);
		await chmod(scratch, 0o755);
		const inRoot = process.getuid?.() === 0;
		const [tool, args] = inRoot ? (["sh", []] as const) : (["fakeroot", ["sh"]] as const);
		const { PATH = "" } = process.env;
		await runTool(tool, [...args, "-euc", MAKE_FILE_SYSTEM], {
			cwd,
			remedies: { ...remedies, failed: "Check the space on the host, or give the image a larger --size." },
			title: "mke2fs",
			// mke2fs is where users of Debian do not look for programs.
			environment: { PATH: `${PATH}:/usr/sbin:/sbin` },
		});
		await rename(image, file);
	} catch (error) {
		throw explainDirectory(directory, PLACE_REMEDY, error);
	} finally {
		await rm(scratch, { recursive: true, force: true });
	}
}

/**
 * The kernel makes /dev anew, so device nodes are left out: an unprivileged container may not make them. root has no password: whoever has
 * the console has the machine.
 */
const MAKE_FILE_SYSTEM = `
mkdir root
tar -xf system.tar -C root --numeric-owner --xattrs --xattrs-include='security.capability' --exclude='./dev/*' 2>tar.log ||
	tar -xf system.tar -C root --numeric-owner --exclude='./dev/*'
rm system.tar
cp -R --preserve=mode,links late/. root/
sed -i 's/^root:[^:]*:/root::/' root/etc/shadow
[ ! -e root/lib/systemd/systemd-resolved ] || ln -sf ../run/systemd/resolve/stub-resolv.conf root/etc/resolv.conf
mke2fs -q -F -t ext4 -L debian-root -d root image
`;

async function imageSources(suite: string | undefined): Promise<PackageSource[]> {
	const configured = debianSources(await systemSources());
	const sources = suite === undefined ? configured : withSuite(configured, suite);
	if (sources.length > 0) return sources;
	throw new GuestError("no Debian package source in /etc/apt: is this a Debian machine?", "Make the image on one.", {
		code: "no-tool",
	});
}

async function writeFiles(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
	await mkdir(directory, { recursive: true });
	for (const [name, text] of Object.entries(files)) {
		const path = join(directory, name);
		await mkdir(dirname(path), { recursive: true });
		if (text.startsWith("-> ")) await symlink(text.slice(3), path);
		else await writeFile(path, text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
	}
}

/** mmdebstrap names its steps on standard error. */
const STEPS = [
	"running apt-get update",
	"downloading packages",
	"extracting archives",
	"installing essential",
	"installing remaining",
	"creating tarball",
];

function stepCounter(tell: (fraction: number) => void): (line: string) => void {
	return (line) => {
		const step = STEPS.findIndex((text) => line.includes(text));
		if (step >= 0) tell((step + 1) / (STEPS.length + 1));
	};
}

function quote(path: string): string {
	return `'${path.replaceAll("'", "'\\''")}'`;
}
