/** Debian's stock kernel with disks: twenty of them, of all kinds, added, taken away and grown while it runs. */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryFile } from "../../src/devices/block/images/memory.ts";
import { createQcow2 } from "../../src/devices/block/images/qcow2/create.ts";
import { RawImage } from "../../src/devices/block/images/raw.ts";
import { type GuestDomain, Host } from "../../src/index.ts";
import { nodeBlockFiles } from "../../src/platform/node/block-files.ts";
import { diskName } from "../../src/toolstack/config/vdev.ts";
import { canAssemble } from "../host/echo-guest.ts";
import { complaints, debianImages, hypervisorComplaints } from "./guest.ts";
import { GuestShell } from "./shell.ts";

const MIB = 2 ** 20;

function md5(bytes: Uint8Array): string {
	return createHash("md5").update(bytes).digest("hex");
}

describe.runIf(canAssemble)("Debian's kernel and disks", () => {
	const folder = mkdtempSync(join(tmpdir(), "paravirt-disks-"));
	const at = (name: string): string => join(folder, name);
	const cd = Uint8Array.from({ length: 3 * MIB }, (_, index) => (index * 31 + (index >> 11)) & 255);
	const memories = Array.from({ length: 16 }, () => new MemoryFile(MIB));
	let host: Host;
	let domain: GuestDomain;
	let shell: GuestShell;

	beforeAll(async () => {
		writeFileSync(at("raw"), "");
		truncateSync(at("raw"), 64 * MIB);
		writeFileSync(at("cd.iso"), cd);
		writeFileSync(at("base"), cd);
		const file = await nodeBlockFiles().open(at("qcow2"), { readOnly: false, create: true });
		await createQcow2(file, { size: 64 * MIB, backing: { file: "base", format: "raw" } });
		await file.close();
		const { kernel, ramdisk } = await debianImages();
		host = new Host({ memory: 300 * MIB });
		domain = await host.createDomain(
			{
				kernel,
				ramdisk,
				commandLine: "console=hvc0 paravirt.input=pipe",
				memory: 256 * MIB,
				vcpus: 2,
				disks: [
					`${at("raw")},raw,xvda,rw`,
					`${at("qcow2")},qcow2,xvdb,rw`,
					`${at("cd.iso")},,xvdc,cdrom`,
					`${at("base")},raw,xvdd,rw,snapshot`,
					// xvdq and those behind it have extended numbers.
					...memories.map((memory, index) => ({
						vdev: diskName(index < 12 ? 51712 + (4 + index) * 16 : (1 << 28) + (4 + index) * 256),
						image: new RawImage(memory),
						persistentGrants: index === 0,
					})),
				],
			},
			(created) => {
				shell = new GuestShell(created);
			},
		);
		await shell.ready();
		// Its messages would come between what its programs say.
		await shell.output("dmesg -n 1");
	}, 600_000);

	afterAll(async () => {
		await domain?.destroy();
		host?.stop();
		rmSync(folder, { recursive: true });
	});

	it("finds twenty, with a queue for each virtual CPU", async () => {
		const names = Array.from({ length: 20 }, (_, index) => `/dev/xvd${String.fromCharCode(97 + index)}`);
		expect((await shell.output("echo /dev/xvd*")).split(" ")).toEqual(names);
		expect(domain.disks().map(({ vdev, state }) => `${vdev} ${state}`)).toEqual(
			names.map((name) => `${name.slice(5)} 4`),
		);
		expect(
			await shell.output(
				"ls /sys/block/xvda/mq | wc -l; dmesg | grep -c 'blkfront: xvda: flush diskcache: enabled; persistent grants: disabled; indirect descriptors: enabled'",
			),
		).toBe("2\n1");
		expect(
			await shell.output("cat /sys/block/xvda/size /sys/block/xvdc/ro /sys/block/xvdb/queue/discard_granularity"),
		).toBe("131072\n1\n65536");
	}, 300_000);

	it("reads and writes them without a cache in between", async () => {
		await shell.output("dd if=/dev/urandom of=/tmp/data bs=1M count=3 2>/dev/null");
		const sum = (await shell.output("md5sum < /tmp/data")).slice(0, 32);
		for (const disk of ["xvda", "xvdb", "xvdd", "xvde"]) {
			const size = disk === "xvde" ? 1 : 3;
			const part = `dd if=/tmp/data bs=1M count=${size} 2>/dev/null`;
			await shell.output(`${part} | dd of=/dev/${disk} oflag=direct bs=64k iflag=fullblock 2>/dev/null`);
			const expected = await shell.output(`${part} | md5sum`);
			expect(await shell.output(`dd if=/dev/${disk} iflag=direct bs=128k count=${size * 8} 2>/dev/null | md5sum`)).toBe(
				expected,
			);
			// Sizes and places that are no page's.
			await shell.output(
				`dd if=/tmp/data of=/dev/${disk} bs=512 seek=1001 count=7 oflag=direct conv=notrunc 2>/dev/null; sync`,
			);
			const odd = await shell.output("dd if=/tmp/data bs=512 count=7 2>/dev/null | md5sum");
			expect(await shell.output(`dd if=/dev/${disk} bs=512 skip=1001 count=7 iflag=direct 2>/dev/null | md5sum`)).toBe(
				odd,
			);
		}
		const onHost = Buffer.alloc(3 * MIB);
		const descriptor = openSync(at("raw"), "r");
		readSync(descriptor, onHost, 0, onHost.length, 0);
		const start = onHost.subarray(0, 3584);
		start.copy(onHost, 0);
		onHost.copy(onHost, 1001 * 512, 1000 * 512, 1000 * 512);
		const guest = await shell.output("dd if=/dev/xvda bs=1M count=3 iflag=direct 2>/dev/null | md5sum");
		expect(guest.slice(0, 32)).toBe(md5(onHost));
		expect(sum).toMatch(/^[0-9a-f]{32}$/);
		// The overlay keeps it from the base, which the qcow2 image has too.
		expect(md5(readFileSync(at("base")))).toBe(md5(cd));
	}, 400_000);

	it("cannot write to a CD", async () => {
		expect(await shell.output("md5sum < /dev/xvdc")).toContain(md5(cd));
		expect((await shell.run("dd if=/dev/zero of=/dev/xvdc bs=4096 count=1 oflag=direct 2>&1")).status).not.toBe(0);
		expect(await shell.output("md5sum < /dev/xvdc")).toContain(md5(cd));
	}, 300_000);

	it("has a drive without a CD, of no sectors", async () => {
		await domain.attachDisk(",xvdz:cdrom,r");
		await shell.output("while [ ! -e /dev/xvdz ]; do sleep 1; done");
		expect(await shell.output("cat /sys/block/xvdz/size /sys/block/xvdz/ro; dd if=/dev/xvdz 2>/dev/null | wc -c")).toBe(
			"0\n1\n0",
		);
		expect(await domain.detachDisk("xvdz")).toBe("closed");
	}, 300_000);

	it("has file systems on them, whose freed space the host gets back", async () => {
		for (const disk of ["xvda", "xvdb"]) {
			await shell.output(`mke2fs -b 4096 /dev/${disk} >/dev/null && mount -t ext4 /dev/${disk} /mnt`);
			await shell.output("cp /tmp/data /mnt/one; cp /tmp/data /mnt/two; sync; umount /mnt");
			await shell.output(
				`mount -t ext4 -o discard /dev/${disk} /mnt && cmp /mnt/one /tmp/data && cmp /mnt/two /tmp/data`,
			);
			const before = statSync(at(disk === "xvda" ? "raw" : "qcow2")).blocks;
			await shell.output("rm /mnt/one && sync && fstrim /mnt; sync; umount /mnt; sleep 1");
			const after = statSync(at(disk === "xvda" ? "raw" : "qcow2")).blocks;
			expect([disk, before - after > 5000]).toEqual([disk, true]);
			await shell.output(`mount -t ext4 /dev/${disk} /mnt && cmp /mnt/two /tmp/data && umount /mnt`);
		}
	}, 400_000);

	it("sees a disk grow", async () => {
		await domain.resizeDisk("xvda", 96 * MIB);
		await domain.resizeDisk("xvdb", 300 * MIB);
		await domain.resizeDisk("xvde", 2 * MIB);
		const sizes = "cat /sys/block/xvda/size /sys/block/xvdb/size /sys/block/xvde/size";
		expect(
			await shell.output(
				`for i in 1 2 3 4 5; do [ $(cat /sys/block/xvde/size) = 4096 ] && break; sleep 1; done; ${sizes}`,
			),
		).toBe("196608\n614400\n4096");
		await shell.output("dd if=/tmp/data of=/dev/xvdb bs=1M seek=290 count=3 oflag=direct 2>/dev/null");
		expect(
			await shell.output(
				"dd if=/dev/xvdb bs=1M skip=290 count=3 iflag=direct 2>/dev/null | cmp -n 3145728 - /tmp/data && echo same",
			),
		).toBe("same");
		await expect(domain.resizeDisk("xvda", MIB)).rejects.toThrow("cannot be made smaller");
	}, 300_000);

	it("gets and loses disks while it runs, again and again", async () => {
		const wait =
			"for i in 1 2 3 4 5 6 7 8 9; do [ -e /sys/block/xvdz/size ] && [ $(cat /sys/block/xvdz/size) != 0 ] && break; sleep 0.2; done";
		for (let round = 0; round < 3; round++) {
			const memory = new MemoryFile(MIB);
			await domain.attachDisk({ vdev: "xvdz", image: new RawImage(memory) });
			await expect(domain.attachDisk({ vdev: "xvdz", image: new RawImage(new MemoryFile(MIB)) })).rejects.toThrow(
				"has a disk xvdz already",
			);
			await shell.output(`${wait}; dd if=/tmp/data of=/dev/xvdz bs=64k count=4 oflag=direct 2>/dev/null; sync`);
			const written = new Uint8Array(256 * 1024);
			memory.read(written, 0);
			expect(await shell.output("dd if=/tmp/data bs=64k count=4 2>/dev/null | md5sum")).toContain(md5(written));
			expect(await domain.detachDisk("xvdz")).toBe("closed");
			// The front end removes the disk once its nodes are gone.
			await shell.output(
				"for i in 1 2 3 4 5 6 7 8 9; do [ -e /dev/xvdz ] || break; sleep 0.3; done; [ ! -e /dev/xvdz ]",
			);
		}
		await expect(domain.detachDisk("xvdz")).rejects.toThrow("no such disk");
		// Linux lets go also of one that is mounted.
		await shell.output("mount -t ext4 /dev/xvda /mnt");
		expect(await domain.detachDisk("xvda")).toBe("closed");
		expect((await shell.run("dd if=/mnt/two of=/dev/null bs=1M iflag=direct; umount /mnt")).output).toContain("error");
		expect(domain.disks().length).toBe(19);
		const again = await domain.attachDisk(`${at("raw")},raw,xvdy,rw`);
		expect(again.size).toBe(96 * MIB);
	}, 400_000);

	it("and leaves them as they were written when it ends", async () => {
		const messages = await shell.output("dmesg");
		domain.console.write("poweroff -f\n");
		const end = await Promise.race([domain.ended, host.failed]);
		expect(end.reason).toBe("poweroff");
		const { log } = host;
		await domain.destroy();
		if (spawnSync("qemu-img", ["--version"]).status === 0) {
			const check = spawnSync("qemu-img", ["check", "-f", "qcow2", at("qcow2")], { encoding: "utf8" });
			expect([check.status, check.stdout]).toEqual([0, expect.stringContaining("No errors were found")]);
		}
		// What a mounted disk's sudden absence gives reason for aside.
		const lines = complaints(messages).filter((line) => !/EXT4-fs|I\/O error|Buffer I\/O|xvda/.test(line));
		expect(lines).toEqual([]);
		expect(hypervisorComplaints(log).filter((line) => !/^vbd \d+\/51712:/.test(line))).toEqual([]);
	}, 300_000);
});
