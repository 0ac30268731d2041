/**
 * `npx tsx bench/disk.ts`: throughput of disks, paravirt's blkfront beside QEMU TCG's virtio-blk, the same kernel, program and image, in
 * turns. Raw images on the host's file system, with the host's page cache, as both have it by default. Prints medians.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cacheDirectory } from "../src/guests/cache.ts";
import { debianBusybox, debianGuest } from "../src/guests/debian.ts";
import { buildInitramfs, regularFile } from "../src/guests/initramfs.ts";
import { moduleDirectory } from "../src/guests/module-files.ts";
import { resolveModules } from "../src/guests/modules.ts";

const USAGE = `npx tsx bench/disk.ts [OPTION...]
  --runs N      runs of each; the table has medians (default 3)
  --seconds S   for each item (default 2)
  --size MIB    of the disk (default 256)
  --only NAME   paravirt or qemu
  --format F    raw (default) or qcow2
`;
const { values } = parseArgs({
	options: {
		runs: { type: "string", default: "3" },
		seconds: { type: "string", default: "2" },
		size: { type: "string", default: "256" },
		only: { type: "string" },
		format: { type: "string", default: "raw" },
		help: { type: "boolean", default: false },
	},
});

const MODULES = ["xen-blkfront", "virtio_blk", "virtio_pci"];
const INIT = `#!/bin/busybox sh
export PATH=/bin:/sbin
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
for module in ${MODULES.join(" ")}; do busybox modprobe $module 2>/dev/null; done
for i in 1 2 3 4 5 6 7 8 9; do [ -b /dev/xvda ] || [ -b /dev/vda ] || busybox sleep 0.3; done
disk=/dev/vda
[ -b /dev/xvda ] && disk=/dev/xvda
/disk $disk $DISK_SECONDS && echo DISK-DONE
busybox poweroff -f
`;
const MAIN = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

/** The kernel's package, unpacked: our own cache has no drivers for virtio. */
async function unpackedKernel(release: string): Promise<string> {
	const directory = join(cacheDirectory(), "bench", release);
	if (existsSync(join(directory, "lib"))) return directory;
	mkdirSync(directory, { recursive: true });
	execFileSync("apt-get", ["download", "-q=2", `linux-image-${release}`], { cwd: directory });
	execFileSync("sh", ["-c", "dpkg-deb -x *.deb . && rm *.deb"], { cwd: directory });
	return directory;
}

interface Guest {
	readonly kernel: string;
	readonly ramdisk: string;
	readonly image: string;
}

async function build(directory: string): Promise<Guest> {
	const { kernel, release } = await debianGuest();
	const source = await moduleDirectory(join(await unpackedKernel(release), "lib/modules", release));
	const program = join(directory, "disk");
	execFileSync("gcc", ["-O2", "-static", "-o", program, fileURLToPath(new URL("guest/disk.c", import.meta.url))]);
	const ramdisk = join(directory, "initramfs");
	const archive = buildInitramfs({
		busybox: readFileSync(await debianBusybox()),
		release,
		modules: await resolveModules(source, MODULES),
		builtin: source.builtin,
		files: [regularFile("init", INIT, 0o755), regularFile("disk", readFileSync(program), 0o755)],
	});
	writeFileSync(ramdisk, archive);
	const image = join(directory, `disk.${values.format}`);
	// Filled, so that reads are not of holes.
	execFileSync("dd", [
		"if=/dev/urandom",
		`of=${join(directory, "content")}`,
		"bs=1M",
		`count=${values.size}`,
		"status=none",
	]);
	if (values.format === "raw") execFileSync("mv", [join(directory, "content"), image]);
	else execFileSync("qemu-img", ["convert", "-f", "raw", "-O", values.format, join(directory, "content"), image]);
	return { kernel, ramdisk, image };
}

const RUNNERS: Readonly<Record<string, (guest: Guest) => string[]>> = {
	paravirt: ({ kernel, ramdisk, image }) => [
		...[process.execPath, MAIN, "boot", kernel, `--ramdisk=${ramdisk}`, "--memory=512M"],
		...[`--append=quiet DISK_SECONDS=${values.seconds}`, `--disk=${image},${values.format},xvda,rw`],
	],
	qemu: ({ kernel, ramdisk, image }) => [
		...["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512"],
		...["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-serial", "stdio"],
		...["-drive", `file=${image},format=${values.format},if=none,id=d`, "-device", "virtio-blk-pci,drive=d"],
		...["-kernel", kernel, "-initrd", ramdisk, "-append", `console=ttyS0 quiet DISK_SECONDS=${values.seconds}`],
	],
};

type Results = Map<string, { readonly value: number; readonly unit: string }>;

function runGuest([program = "", ...args]: string[]): Promise<Results> {
	return new Promise((resolve, reject) => {
		const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
		let output = "";
		child.stdout.on("data", (data) => {
			output += data;
		});
		child.on("error", reject);
		child.on("close", () => {
			if (!output.includes("DISK-DONE")) reject(new Error(`${program} did not end well:\n${output.slice(-2000)}`));
			const found: Results = new Map();
			for (const [, name = "", value, unit = ""] of output.matchAll(/^= (.*)\|(.*)\|(.*?)\r?$/gm)) {
				found.set(name, { value: Number(value), unit });
			}
			resolve(found);
		});
	});
}

function median(numbers: readonly number[]): number {
	const sorted = [...numbers].sort((a, b) => a - b);
	return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function main(directory: string): Promise<void> {
	const names = Object.keys(RUNNERS).filter((name) => {
		if (values.only !== undefined && values.only !== name) return false;
		return name !== "qemu" || spawnSync("qemu-system-x86_64", ["--version"]).status === 0;
	});
	const guest = await build(directory);
	const all = new Map<string, Results[]>(names.map((name) => [name, []]));
	for (let run = 0; run < Number(values.runs); run++) {
		for (const name of names) {
			process.stderr.write(`run ${run + 1}: ${name}\n`);
			all.get(name)?.push(await runGuest(RUNNERS[name]?.(guest) ?? []));
		}
	}
	process.stdout.write(`${["item".padEnd(36), ...names.map((name) => name.padStart(10)), "  ratio"].join(" ")}\n`);
	for (const [item, { unit }] of all.get(names[0] ?? "")?.[0] ?? []) {
		const medians = names.map((name) =>
			median((all.get(name) ?? []).map((results) => results.get(item)?.value ?? Number.NaN)),
		);
		const ratio = medians.length === 2 ? ((medians[0] as number) / (medians[1] as number)).toFixed(2) : "";
		process.stdout.write(
			`${[item.padEnd(36), ...medians.map((value) => value.toFixed(0).padStart(10)), ratio.padStart(7), unit].join(" ")}\n`,
		);
	}
}

if (values.help) {
	process.stdout.write(USAGE);
} else {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-disk-bench-"));
	try {
		await main(directory);
	} finally {
		rmSync(directory, { recursive: true, force: true });
	}
}
