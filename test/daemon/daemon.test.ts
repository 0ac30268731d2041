import { chmodSync, existsSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DaemonClient } from "../../src/daemon/client.ts";
import { startDaemon } from "../../src/daemon/daemon.ts";
import { checkDirectory, daemonPaths } from "../../src/daemon/paths.ts";
import type { EndEvent } from "../../src/daemon/protocol.ts";
import type { DomainConfig } from "../../src/toolstack/config/domain-config.ts";
import { XL_END_ACTIONS } from "../../src/toolstack/options.ts";
import { assembleEchoGuest, canAssemble } from "../host/echo-guest.ts";
import { ownEnvironment, type RunningDaemon, runDaemon } from "./running.ts";

const MIB = 2 ** 20;

function config(name: string, kernel: string, more: Partial<DomainConfig> = {}): DomainConfig {
	return {
		name,
		kernel,
		commandLine: `${name}\n`,
		memory: 8 * MIB,
		maximumMemory: 8 * MIB,
		vcpus: 1,
		maximumVcpus: 1,
		disks: [],
		shares: [],
		networks: [],
		channels: [],
		...XL_END_ACTIONS,
		...more,
	};
}

/** A console that is read and typed on. */
function consoleOf(client: DaemonClient, domain: string, restarts = false) {
	let text = "";
	let listener: () => void = () => {};
	const stream = client.stream("console", { domain, number: 0, restarts }, ({ output }) => {
		text += Buffer.from(output, "base64").toString();
		listener();
	});
	const shows = (wanted: string): Promise<void> =>
		new Promise((resolve) => {
			listener = () => {
				if (text.includes(wanted)) resolve();
			};
			listener();
		});
	return { type: (keys: string) => stream.write(Buffer.from(keys)), shows, ended: stream.result, text: () => text };
}

describe.runIf(canAssemble)("the daemon", () => {
	let running: RunningDaemon;
	let client: DaemonClient;
	const { directory, kernel } = canAssemble ? assembleEchoGuest() : { directory: "", kernel: "" };
	beforeAll(async () => {
		running = await runDaemon();
		client = await DaemonClient.connect(running.paths);
	});
	afterAll(async () => {
		client.close();
		await running.close();
		rmSync(directory, { recursive: true });
	});

	it("has a socket that only its user can open", () => {
		expect(statSync(running.paths.directory).mode & 0o777).toBe(0o700);
		expect(statSync(running.paths.socket).mode & 0o777).toBe(0o600);
		expect(statSync(running.paths.store).mode & 0o777).toBe(0o600);
	});

	it("keeps what a console shows until somebody reads it, and ends the console with its domain", async () => {
		await client.request("create", { config: config("quiet", kernel), paused: false });
		const console = consoleOf(client, "quiet");
		await console.shows("quiet");
		console.type("abc");
		await console.shows("ABC");
		console.type(".");
		await console.ended;
		await expect(client.request("destroy", { domain: "quiet" })).rejects.toMatchObject({ code: "no-such-domain" });
	});

	it("tells how domains end, and those that are started in their place", async () => {
		const { id } = await client.request("create", { config: config("again", kernel), paused: true });
		const ends: EndEvent[] = [];
		const followed = client.request("follow", { domain: id, restarts: true }, (end) => ends.push(end));
		const console = consoleOf(client, String(id), true);
		await client.request("unpause", { domain: id });
		await console.shows("again");
		console.type("*");
		await console.shows("again\nagain");
		console.type("!");
		await followed;
		await console.ended;
		expect(ends).toMatchObject([
			{ domain: id, name: "again", reason: "reboot", action: "restart" },
			{ name: "again", reason: "crash", action: "destroy" },
		]);
		expect(ends[1]?.domain).toBeGreaterThan(id);
		expect(ends[1]?.report).toContain("rip ");
		expect((await client.request("list", {})).map(({ name }) => name)).toEqual(["Domain-0"]);
	});

	it("serves many connections at once, and forgets those that go", async () => {
		const clients = await Promise.all(Array.from({ length: 8 }, () => DaemonClient.connect(running.paths)));
		const made = await Promise.allSettled(
			clients.map((each, index) =>
				each.request("create", { config: config(`many-${index % 4}`, kernel), paused: true }),
			),
		);
		// Two wanted each name.
		expect(made.filter(({ status }) => status === "fulfilled")).toHaveLength(4);
		const refused = made.filter((each): each is PromiseRejectedResult => each.status === "rejected");
		expect(refused.map(({ reason }) => reason.code)).toEqual(Array(4).fill("name-in-use"));
		const consoles = clients.map((each, index) => consoleOf(each, `many-${index % 4}`));
		for (const each of clients.slice(0, 4)) each.close();
		await Promise.allSettled(consoles.slice(0, 4).map(({ ended }) => ended));
		await Promise.all([0, 1, 2, 3].map((n) => client.request("unpause", { domain: `many-${n}` })));
		await Promise.all(consoles.slice(4).map((console, n) => console.shows(`many-${n}`)));
		await Promise.all([0, 1, 2, 3].map((n) => client.request("destroy", { domain: `many-${n}` })));
		await Promise.all(consoles.slice(4).map(({ ended }) => ended));
		for (const each of clients) each.close();
	});

	it("refuses with the host's codes and remedies", async () => {
		const missing = config("missing", "/no/such/kernel");
		await expect(client.request("create", { config: missing, paused: false })).rejects.toMatchObject({
			code: "not-readable",
		});
		await expect(client.request("pause", { domain: "none" })).rejects.toMatchObject({
			code: "no-such-domain",
			remedy: expect.stringMatching(/\S/),
		});
		await expect(client.request("nonsense" as "info", {})).rejects.toMatchObject({ code: "bad-request" });
	});

	it.each([
		["no JSON", "rubbish\n"],
		["no message", "5\n"],
		["no number", '{"id":"x"}\n'],
		["a line without end", "x".repeat(2 << 20)],
	])("ends a connection that says %s, and goes on", async (_, text) => {
		const socket = createConnection(running.paths.socket);
		socket.on("error", () => {});
		socket.resume();
		socket.write(text);
		await new Promise((resolve) => socket.once("close", resolve));
		expect((await client.request("status", {})).pid).toBe(process.pid);
	});

	it("is one alone", async () => {
		const { paths } = running;
		const another = startDaemon({ paths, version: "test", memory: 64 * MIB, idle: 1, log: () => {} });
		await expect(another).rejects.toMatchObject({ code: "running" });
		expect((await client.request("status", {})).pid).toBe(process.pid);
	});

	it("stops only with force while it has domains", async () => {
		await client.request("create", { config: config("last", kernel), paused: true });
		await expect(client.request("stop", { force: false })).rejects.toMatchObject({ code: "busy" });
		await client.request("destroy", { domain: "last" });
	});
});

describe("a daemon's directory", () => {
	it("must be the user's alone", () => {
		const { directory, environment } = ownEnvironment();
		const paths = daemonPaths(environment);
		expect(checkDirectory(paths, false)).toBe(false);
		mkdirSync(paths.directory, { mode: 0o700 });
		expect(checkDirectory(paths, false)).toBe(true);
		chmodSync(paths.directory, 0o750);
		expect(() => checkDirectory(paths, true)).toThrow(/others may enter it/);
		rmSync(paths.directory, { recursive: true });
		mkdirSync(join(directory, "elsewhere"), { mode: 0o700 });
		symlinkSync(join(directory, "elsewhere"), paths.directory);
		expect(() => checkDirectory(paths, true)).toThrow(/it is no directory/);
		rmSync(directory, { recursive: true });
		expect(() => checkDirectory(daemonPaths({ XDG_RUNTIME_DIR: `/tmp/${"x".repeat(100)}` }), true)).toThrow(/too long/);
	});

	it("does not keep a daemon from starting by what one that was killed has left", async () => {
		const { directory, environment } = ownEnvironment();
		const paths = daemonPaths(environment);
		mkdirSync(paths.directory, { mode: 0o700 });
		// A socket that nobody listens to, and the lock of a process that is no more.
		const server = createServer();
		await new Promise<void>((resolve) => server.listen(join(directory, "s"), resolve));
		const { linkSync } = await import("node:fs");
		linkSync(join(directory, "s"), paths.socket);
		await new Promise((resolve) => server.close(resolve));
		writeFileSync(paths.lock, "2147483646");
		const lines: string[] = [];
		const options = { paths, version: "test", memory: 64 * MIB, log: (line: string) => lines.push(line) };
		const daemon = await startDaemon({ ...options, idle: 50 });
		expect(existsSync(paths.lock)).toBe(false);
		// Without domains and connections it ends by itself.
		await daemon.ended;
		expect(lines.at(-1)).toBe("the daemon ends");
		expect(existsSync(paths.socket)).toBe(false);
		rmSync(directory, { recursive: true });
	});
});
