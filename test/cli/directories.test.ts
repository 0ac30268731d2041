/**
 * The directories that paravirt writes to - cache, state, runtime, temporary, core dumps - read-only, full, missing, relative, or with something else in
 * their place: a message that names the directory and what to do, and never a command that hangs. File systems are mounted in a mount namespace.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { daemonPaths } from "../../src/daemon/paths.ts";
import { cacheDirectory } from "../../src/guests/cache.ts";
import { makeDirectories } from "../../src/platform/node/directories.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { assembleEchoGuest, canAssemble } from "../host/echo-guest.ts";
import { type Bundle, bundleCommand } from "./bundle.ts";
import { type Outcome, runProgram } from "./program.ts";

/** Milliseconds that a command may take: it is killed after them. */
const PATIENCE = 60_000;
const IN_NAMESPACE = ["unshare", "--map-root-user", "--mount"] as const;
const canMount =
	spawnSync(IN_NAMESPACE[0], [...IN_NAMESPACE.slice(1), "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0;

const root = mkdtempSync(join(tmpdir(), "pvdir-"));
const place = join(root, "place");
const file = join(root, "file");
mkdirSync(place);
writeFileSync(file, "no directory\n");
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** An environment whose directories are all new ones, apart from what is given. */
function environment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
	const own = mkdtempSync(join(root, "own-"));
	const directories = { XDG_CACHE_HOME: own, XDG_STATE_HOME: own, XDG_RUNTIME_DIR: own, HOME: own };
	return { ...process.env, ...directories, ...more };
}

/** Makes a directory unusable by a file system on it; `$1` is the directory. */
const MOUNTS = {
	"read-only": 'mount -t tmpfs -o ro tmpfs "$1"',
	"without an inode": 'mount -t tmpfs -o nr_inodes=1 tmpfs "$1"',
	"without space": 'mount -t tmpfs -o size=4k tmpfs "$1"; echo >"$1/filler"',
} as const;

describe.runIf(process.platform === "linux")("directories", () => {
	let bundle: Bundle;
	beforeAll(async () => {
		bundle = await bundleCommand();
	});
	afterAll(() => bundle?.close());

	const run = (args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> =>
		runProgram([...bundle.paravirt, ...args], { env, patience: PATIENCE });

	/** Runs commands of ours while `place` has a file system of its own. */
	const runMounted = (mount: keyof typeof MOUNTS, script: string, env: NodeJS.ProcessEnv): Promise<Outcome> => {
		const text = `set -e; ${MOUNTS[mount]}; node=$2; main=$3; paravirt() { "$node" "$main" "$@"; }; ${script}`;
		const words = ["sh", "-c", text, "sh", place, ...bundle.paravirt];
		return runProgram([...IN_NAMESPACE, ...words], { env, patience: PATIENCE });
	};

	/** The directories, by the variables that name them, with a command that writes there. */
	const writers: readonly (readonly [variable: string, command: string])[] = [
		["XDG_STATE_HOME", "daemon start"],
		["XDG_RUNTIME_DIR", "daemon start"],
		["XDG_CACHE_HOME", "boot"],
	];

	describe.each(writers)("%s of paravirt %s", (variable, command) => {
		const refused = ({ status, stderr }: Outcome, reason: RegExp): void => {
			expect(stderr).toMatch(reason);
			expect(stderr).toContain(variable);
			expect(stderr).not.toContain("a bug in paravirt");
			expect(status).toBe(1);
		};
		const wrong: readonly (readonly [what: string, value: string, reason: RegExp])[] = [
			["a file", file, /no directory|a file is in its place/],
			["below a file", join(file, "more"), /no directory|a file is in its place/],
			["where nothing can be made", "/proc/nosuch", /is not there, and cannot be made/],
			["with too long a name", `/${"x".repeat(300)}`, /too long/],
		];
		it.each(wrong)("%s", async (_, value, reason) => {
			refused(await run(command.split(" "), environment({ [variable]: value })), reason);
		});

		it.runIf(canMount)("read-only", async () => {
			const outcome = await runMounted("read-only", `paravirt ${command}`, environment({ [variable]: place }));
			refused(outcome, /place.*: the file system is read-only/);
		});

		it.runIf(canMount)("full", async () => {
			const outcome = await runMounted("without an inode", `paravirt ${command}`, environment({ [variable]: place }));
			refused(outcome, /place.*: no space is left/);
		});
	});

	it.runIf(canMount)("a cache that becomes full while a kernel is fetched", async () => {
		const env = environment({ XDG_CACHE_HOME: place });
		const { status, stderr } = await runMounted("without space", "paravirt boot", env);
		expect(stderr).toMatch(/place\/paravirt: no space is left/);
		expect(status).toBe(1);
	});

	it.runIf(canMount)("a daemon runs on without a log that can be written", async () => {
		const script = "paravirt daemon start --memory 256M && paravirt daemon status && paravirt daemon stop";
		const env = environment({ XDG_STATE_HOME: place });
		const { status, stdout, stderr } = await runMounted("without space", script, env);
		expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
		expect(stdout).toContain(join(place, "paravirt/daemon.log"));
	});

	it.runIf(canAssemble)("a kernel and a ramdisk of one's own need no cache", async () => {
		const { directory, kernel } = assembleEchoGuest();
		const env = environment({ XDG_CACHE_HOME: "/proc/nosuch", HOME: "/proc/nosuch" });
		const outcome = await runProgram([...bundle.paravirt, "boot", kernel, "--ramdisk", file, "--memory", "16M"], {
			env,
			patience: PATIENCE,
			input: ".",
		});
		rmSync(directory, { recursive: true });
		expect(outcome).toMatchObject({ status: 0, stderr: "" });
	});

	it("a HOME that cannot exist", async () => {
		const { XDG_CACHE_HOME: _, ...env } = environment({ HOME: "/proc/nosuch" });
		const { status, stderr } = await run(["boot"], env);
		expect(stderr).toMatch(/^paravirt: \/proc\/nosuch: it is not there, and cannot be made\n.*XDG_CACHE_HOME/);
		expect(status).toBe(1);
	});

	it("a temporary directory", async () => {
		vi.stubEnv("TMPDIR", file);
		try {
			const made = nodePlatform.blockFiles(true).openTemporary();
			await expect(made).rejects.toMatchObject({ name: "DirectoryError", remedy: expect.stringContaining("TMPDIR") });
		} finally {
			vi.unstubAllEnvs();
		}
	});
});

describe("names of directories", () => {
	const { homedir } = userInfo();

	it("that are empty or relative are none", () => {
		for (const value of ["", "relative", "./relative"]) {
			expect(cacheDirectory({ XDG_CACHE_HOME: value, HOME: "/home/me" })).toBe("/home/me/.cache/paravirt");
			expect(cacheDirectory({ HOME: value })).toBe(join(homedir, ".cache/paravirt"));
			const paths = daemonPaths({ XDG_STATE_HOME: value, XDG_RUNTIME_DIR: value, HOME: value });
			expect(paths.state).toBe(join(homedir, ".local/state/paravirt"));
			expect(paths.directory.startsWith("/")).toBe(true);
		}
	});

	it("are made one below the other, and only once", () => {
		const deep = join(root, "one/two/three");
		makeDirectories(deep, "");
		makeDirectories(deep, "");
		expect(existsSync(deep)).toBe(true);
		expect(() => makeDirectories(join(file, "more"), "remedy")).toThrow("no directory");
	});
});

describe.runIf(process.platform === "linux")("a core dump's file", () => {
	const write = async (name: string): Promise<void> => {
		const created = await nodePlatform.createFile?.(name);
		try {
			await created?.write(new Uint8Array(8192).fill(1));
		} finally {
			await created?.close();
		}
	};

	it("in a directory that is not there, or that is one", async () => {
		await expect(write(join(root, "nosuch/core"))).rejects.toMatchObject({ code: "not-writable" });
		await expect(write(root)).rejects.toThrow(`${root}: it is a directory`);
	});

	it("on a full file system", async () => {
		await expect(write("/dev/full")).rejects.toThrow("/dev/full: no space is left on its file system");
		expect(existsSync("/dev/full")).toBe(true);
	});

	it("is complete", async () => {
		const directory = mkdtempSync(join(root, "cores-"));
		await write(join(directory, "core"));
		expect(readdirSync(directory)).toEqual(["core"]);
	});
});
