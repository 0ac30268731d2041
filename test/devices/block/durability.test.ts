/** A write that a flush was acknowledged after is there when the process that served it has been killed, and the image has no fault. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { openImage } from "../../../src/devices/block/images/open.ts";
import { createQcow2 } from "../../../src/devices/block/images/qcow2/create.ts";
import { nodeBlockFiles } from "../../../src/platform/node/block-files.ts";
import { contentsOf, DISK_BYTES, writeOf } from "./durable-writes.ts";

const WRITER = fileURLToPath(new URL("./durable-writer.ts", import.meta.url));
const KILLS = 20;
const files = nodeBlockFiles();

/** Lets the writer write from number `from` on, and kills it some flushes later. @returns the last write that was flushed */
async function writeAndKill(raw: string, qcow2: string, from: number, flushes: number): Promise<number> {
	const child = spawn(process.execPath, ["--import", "tsx", WRITER, raw, qcow2, String(from)], {
		stdio: ["ignore", "pipe", "pipe"],
	});
	let said = "";
	let errors = "";
	child.stderr.on("data", (data) => {
		errors += data;
	});
	child.stdout.on("data", (data) => {
		said += data;
		// Some time after the flush that it has told of, between any two instructions.
		if (said.split("\n").length > flushes) setTimeout(() => child.kill("SIGKILL"), Math.random() * 8);
	});
	const [status, signal] = await new Promise<[number | null, string | null]>((resolve) => {
		child.on("close", (...ended) => resolve(ended));
	});
	if (signal !== "SIGKILL") throw new Error(`the writer ended by itself: ${status} ${errors}`);
	const told = said.slice(0, said.lastIndexOf("\n")).split("\n");
	return Number(told.at(-1));
}

/** Looks at every sector: what is there is a write's that belongs there, and none older than the last flushed one. */
async function verify(name: string, format: "raw" | "qcow2", flushed: number): Promise<void> {
	const image = await openImage(files, name, { format, readOnly: true });
	const disk = new Uint8Array(DISK_BYTES);
	await image.read(disk, 0);
	await image.close();
	const least = new Map<number, number>();
	for (let number = 0; number <= flushed; number++) {
		const { sector, first, last } = writeOf(number);
		for (let index = first; index <= last; index++) least.set(sector + index, number);
	}
	const words = new Uint32Array(disk.buffer);
	for (let sector = 0; sector < DISK_BYTES / 512; sector++) {
		const number = (words[sector * 128] as number) - 1;
		const needed = least.get(sector) ?? -1;
		if (number < needed)
			throw new Error(`${format}: sector ${sector} has write ${number}, not ${needed}, of ${flushed} flushed`);
		const expected = number < 0 ? new Uint8Array(512) : contentsOf(number, sector);
		const found = disk.subarray(sector * 512, sector * 512 + 512);
		if (Buffer.compare(found, expected) !== 0) throw new Error(`${format}: sector ${sector} is torn`);
	}
}

describe("durability", () => {
	it(`survives ${KILLS} times kill -9`, async () => {
		const folder = mkdtempSync(join(tmpdir(), "paravirt-durability-"));
		try {
			const [raw, qcow2] = [join(folder, "disk.raw"), join(folder, "disk.qcow2")];
			writeFileSync(raw, "");
			spawnSync("truncate", ["--size", String(DISK_BYTES), raw]);
			const file = await files.open(qcow2, { readOnly: false, create: true });
			await createQcow2(file, { size: DISK_BYTES, clusterBits: 12 });
			await file.close();
			let flushed = -1;
			for (let kill = 0; kill < KILLS; kill++) {
				const last = await writeAndKill(raw, qcow2, flushed + 1, 1 + (kill % 5) * 3);
				expect(last).toBeGreaterThan(flushed);
				flushed = last;
				await verify(raw, "raw", flushed);
				await verify(qcow2, "qcow2", flushed);
				const check = spawnSync("qemu-img", ["check", "-f", "qcow2", qcow2], { encoding: "utf8" });
				// 3: clusters that nobody uses, which the writes since the last flush had taken.
				if (check.error === undefined)
					expect([check.stdout, [0, 3].includes(check.status ?? -1)]).toEqual([check.stdout, true]);
			}
		} finally {
			rmSync(folder, { recursive: true });
		}
	}, 240_000);
});
