/** The image of a Debian system that tests boot: made once, and again when what is to be in it changes; kept in the user's cache. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Apt } from "../../src/guests/apt.ts";
import { cacheDirectory } from "../../src/guests/cache.ts";
import { GuestError } from "../../src/guests/errors.ts";
import { createImage } from "../../src/guests/image.ts";
import { findProgram } from "../../src/platform/node/programs.ts";

/** Programs of Debian's that make and check an image: packages mmdebstrap, e2fsprogs, qemu-utils. */
export const hasImageTools = ["mmdebstrap", "qemu-img"].every((name) => findProgram(name) !== undefined);

/** Beside what makes a system: what it works with in the tests. */
export const WORK_PACKAGES: readonly string[] = ["fio", "iperf3", "stress-ng"];

const LOCK = "lock";
const RECIPE = fileURLToPath(new URL("../../src/guests/image.ts", import.meta.url));

/** Why no packages can be fetched here; undefined where they can. */
export async function mirrorMissing(): Promise<string | undefined> {
	const directory = await mkdtemp(join(tmpdir(), "paravirt-apt-"));
	try {
		await (await Apt.prepare(directory, undefined)).update(() => {});
		return undefined;
	} catch (error) {
		if (error instanceof GuestError) return error.message;
		throw error;
	} finally {
		await rm(directory, { recursive: true, force: true });
	}
}

/** Path of the image, without a kernel. Not to be written to. */
export async function debianImage(packages: readonly string[] = WORK_PACKAGES): Promise<string> {
	const directory = join(cacheDirectory(), "test-images");
	const key = createHash("sha256").update(JSON.stringify(packages)).update(readFileSync(RECIPE)).digest("hex");
	const path = join(directory, `debian-${key.slice(0, 16)}.img`);
	const release = await lock(directory);
	try {
		if (existsSync(path)) return path;
		for (const name of await readdir(directory)) {
			if (name !== LOCK) await rm(join(directory, name), { recursive: true, force: true });
		}
		await createImage(path, { size: 2 ** 30, packages, kernel: false });
		return path;
	} finally {
		release();
	}
}

/** Tests run beside each other, and one of them makes the image: flock(2) by util-linux's program, which holds it while its input is open. */
async function lock(directory: string): Promise<() => void> {
	await mkdir(directory, { recursive: true });
	const holder = spawn("flock", [join(directory, LOCK), "sh", "-c", "echo locked; read line"], {
		stdio: ["pipe", "pipe", "inherit"],
	});
	await once(holder.stdout, "data");
	return () => holder.stdin.end();
}
