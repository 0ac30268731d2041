/**
 * The guest of bench/devices.ts: an initramfs with busybox, the drivers of both sides (Xen's and virtio's), the programs guest/disk.c and
 * guest/net.c, and guest/devices.init. The same bytes and the same kernel for every runner.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDirectory } from "../src/guests/cache.ts";
import { debianBusybox, debianGuest } from "../src/guests/debian.ts";
import { buildInitramfs, regularFile } from "../src/guests/initramfs.ts";
import { moduleDirectory } from "../src/guests/module-files.ts";
import { resolveModules } from "../src/guests/modules.ts";

export interface DeviceGuest {
	/** Paths. */
	readonly kernel: string;
	readonly ramdisk: string;
	/** guest/net.c, for the host's end of connections. */
	readonly net: string;
	readonly release: string;
}

const MODULES = [
	...["virtio_pci", "xen-blkfront", "virtio_blk", "xen-netfront", "virtio_net"],
	...["9p", "9pnet_xen", "9pnet_virtio", "crc32c_generic", "ext4"],
];

const source = (name: string): string => fileURLToPath(new URL(`guest/${name}`, import.meta.url));

/** Compiles and packs the guest into `directory`. */
export async function buildDeviceGuest(directory: string): Promise<DeviceGuest> {
	const { kernel, release } = await debianGuest();
	const modules = await moduleDirectory(join(await unpackedKernel(release), "lib/modules", release));
	const programs = ["disk", "net"].map((name) => {
		const program = join(directory, name);
		execFileSync("gcc", ["-O2", "-static", "-o", program, source(`${name}.c`)]);
		return program;
	});
	const init = readFileSync(source("devices.init"), "utf8").replace("$MODULES", MODULES.join(" "));
	const ramdisk = join(directory, "initramfs");
	const archive = buildInitramfs({
		busybox: readFileSync(await debianBusybox()),
		release,
		modules: await resolveModules(modules, MODULES),
		builtin: modules.builtin,
		files: [
			regularFile("init", init, 0o755),
			...programs.map((program) => regularFile(program.slice(directory.length + 1), readFileSync(program), 0o755)),
		],
	});
	writeFileSync(ramdisk, archive);
	return { kernel, ramdisk, net: join(directory, "net"), release };
}

/** The kernel's package, unpacked: our own cache has no drivers for virtio. */
async function unpackedKernel(release: string): Promise<string> {
	const directory = join(cacheDirectory(), "bench", release);
	if (existsSync(join(directory, "lib"))) return directory;
	mkdirSync(directory, { recursive: true });
	execFileSync("apt-get", ["download", "-q=2", `linux-image-${release}`], { cwd: directory });
	execFileSync("sh", ["-c", "dpkg-deb -x *.deb . && rm *.deb"], { cwd: directory });
	return directory;
}
