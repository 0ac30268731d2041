/** The image of a Debian system that tests boot: made once, and again when what is to be in it changes; kept in the user's cache. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDirectory } from "../../src/guests/cache.ts";
import { createImage } from "../../src/guests/image.ts";
import { findProgram } from "../../src/host/node/programs.ts";

/** Programs of Debian's that make and check an image: packages mmdebstrap, e2fsprogs, qemu-utils. */
export const hasImageTools = ["mmdebstrap", "qemu-img"].every((name) => findProgram(name) !== undefined);

const RECIPE = fileURLToPath(new URL("../../src/guests/image.ts", import.meta.url));

/** Path of the image, without a kernel. Not to be written to. */
export async function debianImage(packages: readonly string[]): Promise<string> {
	const directory = join(cacheDirectory(), "test-images");
	const key = createHash("sha256").update(JSON.stringify(packages)).update(readFileSync(RECIPE)).digest("hex");
	const path = join(directory, `debian-${key.slice(0, 16)}.img`);
	if (existsSync(path)) return path;
	await mkdir(directory, { recursive: true });
	for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true, force: true });
	await createImage(path, { size: 2 ** 30, packages, kernel: false });
	return path;
}
