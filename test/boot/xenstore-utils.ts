/** Debian's xenstore-utils for tests: the machine's own, or the packages from its mirror, kept in the cache. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Apt, unpackPackage } from "../../src/guests/apt.ts";
import { cacheDirectory, makeComplete } from "../../src/guests/cache.ts";

const PACKAGES = ["xenstore-utils", "libxenstore4", "libxentoolcore1"];
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** The environment in which the programs run; undefined where there are none. */
export async function findUtils(): Promise<NodeJS.ProcessEnv | undefined> {
	if (spawnSync("xenstore-ls", ["--help"]).error === undefined) return process.env;
	const directory = join(cacheDirectory(), "xenstore-utils");
	try {
		if (!existsSync(directory)) await makeComplete(directory, fetchUtils);
	} catch {
		return undefined;
	}
	const { PATH: path } = process.env;
	const environment = {
		...process.env,
		PATH: `${join(directory, "usr/bin")}:${path}`,
		LD_LIBRARY_PATH: join(directory, LIBRARIES),
	};
	const { error, status } = spawnSync("xenstore-ls", ["--help"], { env: environment });
	return error === undefined && status !== 127 ? environment : undefined;
}

async function fetchUtils(directory: string): Promise<void> {
	const temporary = await mkdtemp(join(tmpdir(), "paravirt-apt-"));
	try {
		const apt = await Apt.prepare(temporary, undefined);
		await apt.update(() => {});
		for (const file of await apt.download(PACKAGES, () => {})) await unpackPackage(file, directory);
	} finally {
		await rm(temporary, { recursive: true, force: true });
	}
}
