/** `paravirt run` with Debian's kernel: a command and its status, disks, shared folders, forwarded ports, systems on disks. */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianBusybox, debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { pvGrub } from "../../src/guests/pv-grub.ts";
import { findProgram } from "../../src/platform/node/programs.ts";
import { runParavirt } from "../cli/program.ts";

const MIB = 2 ** 20;
/** Where Debian has it, which is in no user's PATH. */
const mke2fs = findProgram("mke2fs") ?? "/sbin/mke2fs";
const canMakeImages = spawnSync(mke2fs, ["-V"]).status === 0;

/** An ext4 image with a little system: busybox, an init that tells of itself, a kernel and a grub.cfg. */
async function makeImage(directory: string, kernel: string): Promise<string> {
	const [root, image] = [join(directory, "root"), join(directory, "system.img")];
	for (const folder of ["boot/grub", "bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc", "mnt"])
		mkdirSync(join(root, folder), { recursive: true });
	copyFileSync(kernel, join(root, "boot/vmlinuz"));
	writeFileSync(join(root, "boot/initrd"), await guestInitramfs(await debianGuest(), {}));
	writeFileSync(
		join(root, "boot/grub/grub.cfg"),
		"linux /boot/vmlinuz console=hvc0 paravirt.input=pipe booted=from-grub\ninitrd /boot/initrd\nboot\n",
	);
	writeFileSync(join(root, "etc/name"), "the system on the disk\n");
	const busybox = join(root, "bin/busybox");
	copyFileSync(await debianBusybox(), busybox);
	chmodSync(busybox, 0o755);
	for (const name of ["sh", "cat", "mount", "poweroff"]) copyFileSync(busybox, join(root, `bin/${name}`));
	writeFileSync(
		join(root, "sbin/init"),
		"#!/bin/sh\necho booted with $(cat /etc/name): $(cat /proc/cmdline)\npoweroff -f\n",
		{ mode: 0o755 },
	);
	const made = spawnSync(mke2fs, ["-q", "-t", "ext4", "-d", root, image, "128M"], { encoding: "utf8" });
	expect(made.stderr).toBe("");
	return image;
}

/** What debugfs answers. */
function onImage(image: string, request: string): string {
	return spawnSync(findProgram("debugfs") ?? "/sbin/debugfs", ["-R", request, image], { encoding: "utf8" }).stdout;
}

describe("paravirt run", () => {
	let directory = "";
	let kernel = "";
	beforeAll(async () => {
		directory = mkdtempSync(join(tmpdir(), "paravirt-run-"));
		kernel = (await debianGuest()).kernel;
	}, 600_000);
	afterAll(() => rmSync(directory, { recursive: true }));

	/** A port that was free a moment ago. */
	const FORWARD = 18_080 + (process.pid % 10_000);

	it("runs a command with a disk, a folder and a forwarded port, and ends with its status", async () => {
		const [disk, shared] = [join(directory, "disk.img"), join(directory, "shared")];
		writeFileSync(disk, Buffer.concat([Buffer.from("on the disk\n"), Buffer.alloc(MIB)]));
		mkdirSync(shared);
		writeFileSync(join(shared, "file"), "in the folder\n");
		const script = [
			"uname -a",
			"cat /sys/block/xvda/queue/max_segments",
			"head -n 1 /dev/xvda",
			"echo written | dd of=/dev/xvda conv=notrunc bs=512 seek=1 2>/dev/null",
			"cat /mnt/shared/file",
			"echo from the guest >/mnt/shared/answer",
			"cat",
			"echo listening",
			"echo over the network | nc -l -p 80",
			"exit 7",
		].join("\n");
		let asked = false;
		let heard = "";
		const ask = (): void => {
			const socket = createConnection(FORWARD, "127.0.0.1");
			// The guest's program says that it listens a moment before it does: it is asked again.
			socket.on("data", (data) => {
				heard += data;
			});
			socket.on("error", () => {});
			socket.on("close", () => {
				if (heard === "") setTimeout(ask, 100);
			});
		};
		const options = ["--disk", disk, "--share", `${shared}:shared`, "--forward", `${FORWARD}:80`];
		const { status, stdout, stderr } = await runParavirt(["run", ...options, "--", "sh", "-c", script], {
			input: "typed\n",
			answer: (text) => {
				if (!asked && text.includes("listening")) {
					asked = true;
					ask();
				}
				return "";
			},
		});
		expect({ status, stderr }).toEqual({ status: 7, stderr: "" });
		const [first, ...others] = stdout.split("\n");
		expect(first).toMatch(/^Linux paravirt 6\.\d\S* .* x86_64 GNU\/Linux$/);
		expect(others).toEqual(["256", "on the disk", "in the folder", "typed", "listening", ""]);
		expect(heard).toBe("over the network\n");
		expect(readFileSync(disk).toString("latin1", 512, 520)).toBe("written\n");
		expect(readFileSync(join(shared, "answer"), "utf8")).toBe("from the guest\n");
	}, 200_000);

	it.runIf(canMakeImages)("mounts a disk by what the ramdisk has, and leaves it clean", async () => {
		const [root, image] = [join(directory, "data"), join(directory, "data.img")];
		mkdirSync(root);
		writeFileSync(join(root, "file"), "on the disk\n");
		expect(spawnSync(mke2fs, ["-q", "-t", "ext4", "-d", root, image, "16M"]).status).toBe(0);
		const script = "mount /dev/xvda /mnt && cat /mnt/file && echo written >/mnt/new";
		const outcome = await runParavirt(["run", "--disk", image, "--", "sh", "-c", script]);
		expect(outcome).toEqual({ status: 0, stdout: "on the disk\n", stderr: "" });
		expect(onImage(image, "cat /new")).toBe("written\n");
		expect(onImage(image, "features")).not.toContain("needs_recovery");
	});

	it.runIf(canMakeImages)(
		"runs a command in a system on a disk, or boots its init with the usual kernel, or its own kernel by its grub.cfg",
		async () => {
			const image = await makeImage(directory, kernel);
			const inside = await runParavirt(["run", image, "--", "cat", "/etc/name", "/etc/none"]);
			expect(inside).toMatchObject({ status: 1, stderr: "" });
			expect(inside.stdout).toMatch(/^the system on the disk\n.*\/etc\/none.*No such file/);
			// A folder is mounted in that system, and leaves no trace on its disk.
			const folder = join(directory, "folder");
			mkdirSync(folder);
			writeFileSync(join(folder, "file"), "in the folder\n");
			const script = "cat /mnt/folder/file; echo from inside >/mnt/folder/answer; echo kept >/etc/kept";
			const shared = await runParavirt(["run", image, "--share", folder, "--", "sh", "-c", script]);
			expect(shared).toEqual({ status: 0, stdout: "in the folder\n", stderr: "" });
			expect(readFileSync(join(folder, "answer"), "utf8")).toBe("from inside\n");
			expect(onImage(image, "ls -l /mnt")).not.toContain("folder");
			expect(onImage(image, "cat /etc/kept")).toContain("kept");
			expect(onImage(image, "features")).not.toContain("needs_recovery");
			const booted = await runParavirt(["run", image]);
			expect(booted).toMatchObject({ status: 0 });
			expect(booted.stdout).toMatch(/booted with the system on the disk: .*root=\/dev\/xvda rw/);
			await pvGrub(() => () => {});
			const own = await runParavirt(["run", image, "--own-kernel"], {
				keepOpen: true,
				answer: (text) => (text.endsWith("\x1b[5n") ? "cat /proc/cmdline; poweroff -f\n" : ""),
			});
			expect(own.status, own.stdout + own.stderr).toBe(0);
			// The answer comes right behind the question whether it is ready.
			expect(own.stdout).toContain("\x1b[5nconsole=hvc0 paravirt.input=pipe booted=from-grub");
		},
		300_000,
	);
});
