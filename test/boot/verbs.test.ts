/**
 * xl's verbs beside Debian's kernel, in one boot: each in xl's columns and as JSON, with what the guest sees of it. The guest is created from a
 * configuration file by a daemon in this process; its consoles are those of `xl console` processes. What the columns are is of xl's sources
 * and manual, Debian's version 4.17.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeError } from "../../src/cli/errors.ts";
import { runXl } from "../../src/cli/xl/xl.ts";
import { debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { READY_QUERY } from "../../src/guests/session.ts";
import { type RunningDaemon, runDaemon } from "../daemon/running.ts";
import { complaints } from "./guest.ts";
import { checkStore, guestRead, watcher } from "./store-beside.ts";
import { findUtils } from "./xenstore-utils.ts";

const MIB = 2 ** 20;
const PROGRAM = fileURLToPath(new URL("../../src/cli/paravirt-xl.ts", import.meta.url));

class Sink extends Writable {
	text = "";
	override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
		this.text += chunk.toString();
		done();
	}
}

async function outcome(
	...args: string[]
): Promise<{ readonly status: number; readonly out: string; readonly err: string }> {
	const [stdout, stderr] = [new Sink(), new Sink()];
	try {
		return { status: await runXl(args, { stdout, stderr }), out: stdout.text, err: stderr.text };
	} catch (error) {
		const { text, status } = describeError(error);
		return { status, out: stdout.text, err: stderr.text + text };
	}
}

/** What a verb printed that succeeded. */
async function xl(...args: string[]): Promise<string> {
	const { status, out, err } = await outcome(...args);
	expect({ status, err }, args.join(" ")).toMatchObject({ status: 0 });
	return out;
}

async function json(...args: string[]): Promise<Record<string, unknown>[]> {
	return JSON.parse(await xl(...args, "--json")) as Record<string, unknown>[];
}

/** Asks again until it is so. */
async function until(condition: () => Promise<boolean>): Promise<void> {
	while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** An `xl console` whose input and output are pipes. */
class ConsoleProcess {
	text = "";
	private number = 0;
	private heard: () => void = () => {};
	private readonly child: ChildProcessWithoutNullStreams;
	readonly ended: Promise<unknown>;

	constructor(...args: string[]) {
		this.child = spawn(process.execPath, ["--import", "tsx", PROGRAM, "console", ...args]);
		this.child.stdout.on("data", (data: Buffer) => {
			this.text += data.toString("utf8").replaceAll("\r", "");
			this.heard();
		});
		this.child.stderr.pipe(process.stderr);
		this.ended = once(this.child, "close").then(([status]) => {
			this.heard();
			return status as unknown;
		});
	}

	async said(what: RegExp | string, from = 0): Promise<string> {
		const there = (): boolean => {
			const text = this.text.slice(from);
			return typeof what === "string" ? text.includes(what) : what.test(text);
		};
		while (!there()) {
			if (this.child.exitCode !== null) throw new Error(`the console ended before ${what}:\n${this.text.slice(-2000)}`);
			await new Promise<void>((resolve) => {
				this.heard = resolve;
			});
		}
		return this.text.slice(from);
	}

	type(text: string): void {
		this.child.stdin.write(text);
	}

	/** What a command of the guest's shell prints. */
	async run(command: string): Promise<string> {
		const mark = `done-${++this.number}`;
		const from = this.text.length;
		this.type(`${command}; echo "${mark}"\n`);
		const text = await this.said(new RegExp(`${mark}\\n`), from);
		return text
			.slice(0, text.indexOf(mark))
			.replace(/^\[ *\d+\.\d+\] .*\n/gm, "")
			.trim();
	}

	/** Ends the process; the guest goes on. */
	async leave(): Promise<void> {
		this.child.kill();
		await this.ended;
	}
}

let running: RunningDaemon;
let directory = "";
const before = { ...process.env };
beforeAll(async () => {
	directory = mkdtempSync(join(tmpdir(), "paravirt-verbs-"));
	const guest = await debianGuest({});
	writeFileSync(join(directory, "initrd"), await guestInitramfs(guest, {}));
	writeFileSync(
		join(directory, "deb.cfg"),
		[
			'name = "deb"',
			`kernel = "${guest.kernel}"`,
			`ramdisk = "${join(directory, "initrd")}"`,
			'extra = "console=hvc0 paravirt.input=pipe"',
			"memory = 128",
			"maxmem = 192",
			"vcpus = 1",
			"maxvcpus = 2",
			`channel = [ "connection=pty,name=org.example.pty", "connection=socket,name=org.example.agent,path=${directory}/agent" ]`,
			"",
		].join("\n"),
	);
	running = await runDaemon(undefined, 512 * MIB);
	Object.assign(process.env, running.environment);
}, 300_000);
afterAll(async () => {
	await running.close();
	process.env = before;
	rmSync(directory, { recursive: true });
});

it("xl's verbs manage Debian's kernel", async () => {
	expect(await xl("create", "-p", join(directory, "deb.cfg"))).toContain("Parsing config from");
	expect(await xl("list", "deb")).toMatch(/^deb {42}1 {3}12[89] {5}[12] {5}--p--- {7}0\.0$/m);
	const shell = new ConsoleProcess("deb");
	const second = new ConsoleProcess("-n", "1", "deb");
	await xl("unpause", "deb");
	await shell.said(READY_QUERY);

	// Domain, vCPUs, host.
	expect((await xl("list")).split("\n")).toEqual([
		"Name                                        ID   Mem VCPUs\tState\tTime(s)",
		expect.stringMatching(/^Domain-0 {37}0 .*\t?.*-----/),
		expect.stringMatching(/^deb {42}1 {3}12[89] {5}1 {5}[r-][b-]---- {5,7}\d+\.\d$/),
		"",
	]);
	expect((await json("list"))[1]).toMatchObject({ id: 1, name: "deb", onlineVcpus: 1, vcpus: 2 });
	expect((await xl("vcpu-list", "deb")).split("\n")).toEqual([
		"Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)",
		expect.stringMatching(/^deb {34}1 {5}0 {4}0 {3}[r-][b-]- {5,7}\d+\.\d {2}all \/ all$/),
		expect.stringMatching(/^deb {34}1 {5}1 {4}- {3}--p {5,7}\d+\.\d {2}all \/ all$/),
		"",
	]);
	expect((await json("vcpu-list", "deb"))[0]).toMatchObject({ id: 1, vcpus: [{ online: true }, { online: false }] });
	expect(await xl("domid", "deb")).toBe("1\n");
	expect(await xl("domname", "1")).toBe("deb\n");
	expect(await xl("uptime", "deb")).toMatch(/^Name {32}ID Uptime\ndeb {34}1 {2}0:\d\d:\d\d\n$/);
	const [{ uptimeSeconds }] = (await json("uptime", "deb")) as [{ uptimeSeconds: number }];
	expect(uptimeSeconds).toBeGreaterThan(0);
	expect(await xl("info")).toMatch(/^total_memory {11}: 512\nfree_memory {12}: 3\d\d$/m);
	expect(JSON.parse(await xl("info", "--json"))).toMatchObject({ total_memory: 512, xen_major: 4 });
	expect(await xl("dmesg")).toMatch(/^(\(XEN\) .*\n)*$/);
	expect(await shell.run("uname -s")).toBe("Linux");

	// Another name.
	await xl("rename", "deb", "debian");
	expect(await xl("domid", "debian")).toBe("1\n");
	await shell.run("exec 3<>/dev/xen/xenbus");
	expect(await shell.run(guestRead("name"))).toBe("debian");

	// Channels: the guest finds them by their names; data passes both ways, by a terminal, a socket, and xl console.
	for (const [number, name] of [
		[1, "org.example.pty"],
		[2, "org.example.agent"],
	] as const) {
		expect(await shell.run(guestRead(`device/console/${number}/name`))).toBe(name);
		expect(await shell.run(`cat /sys/bus/xen/devices/console-${number}/nodename`)).toBe(`device/console/${number}`);
	}
	const [pty, agent] = (await json("channel-list", "debian")) as [{ path: string }, { path: string }];
	expect([pty, agent]).toMatchObject([
		{ devid: 1, name: "org.example.pty", connection: "pty", state: 4 },
		{ devid: 2, name: "org.example.agent", connection: "socket", path: join(directory, "agent"), state: 4 },
	]);
	const lines = (await xl("channel-list", "debian")).split("\n");
	expect(lines[0]).toBe(`Idx BE state evt-ch ring-ref connection ${" ".repeat(30)}`);
	expect(lines[1]).toMatch(/^1 {3}0 {2}4 {5}\d+ +\d+ +pty {8}\/dev\/pts\/\d+ +$/);
	expect(lines[2]).toMatch(/^2 {3}0 {2}4 {5}\d+ +\d+ +socket {5}\S+\/agent +$/);
	// Linux forgets a terminal's settings when nobody has it open.
	await shell.run("exec 5<>/dev/hvc1 6<>/dev/hvc2; stty raw -echo <&5; stty raw -echo <&6");
	const terminal = await open(pty.path, "r+");
	await terminal.write("from the terminal\n");
	expect(await shell.run("read line </dev/hvc1; echo $line")).toBe("from the terminal");
	await shell.run("echo to the terminal >/dev/hvc1");
	const { buffer, bytesRead } = await terminal.read(Buffer.alloc(100));
	expect(buffer.toString("latin1", 0, bytesRead)).toBe("to the terminal\n");
	await terminal.close();
	await second.said("to the terminal\n");
	second.type("from xl console\n");
	expect(await shell.run("read line </dev/hvc1; echo $line")).toBe("from xl console");
	await second.leave();
	const socket = createConnection(agent.path);
	await once(socket, "connect");
	let answer = Buffer.alloc(0);
	socket.on("data", (data) => {
		answer = Buffer.concat([answer, data]);
	});
	const sent = Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
	socket.write(sent);
	// Every byte comes back as it was, in order, with each side waiting for the other.
	await shell.run("head -c 100000 </dev/hvc2 >/tmp/sent; cat /tmp/sent >/dev/hvc2");
	await until(async () => answer.length >= sent.length);
	expect(answer.equals(sent)).toBe(true);
	socket.destroy();
	expect(await outcome("console", "-n", "2", "debian")).toMatchObject({
		status: 1,
		err: expect.stringContaining('the channel "org.example.agent", which is a socket'),
	});
	expect(await outcome("console", "-n", "3", "debian")).toMatchObject({
		status: 1,
		err: expect.stringContaining("has no console 3\nIt has 0, 1."),
	});

	// The store, from both sides, where Debian's programs for it are to be had.
	const utils = await findUtils();
	const env = { ...utils, XENSTORED_PATH: running.paths.store };
	if (utils !== undefined) await checkStore(env, shell, 1, "debian");

	// A disk comes and goes; the guest loads its driver when it comes.
	const image = join(directory, "disk.img");
	writeFileSync(image, new Uint8Array(4 * MIB).fill(0x2a, 0, 512));
	await xl("block-attach", "debian", image, "raw", "xvdb", "w");
	expect(await shell.run("until [ -b /dev/xvdb ]; do sleep 0.1; done; cat /sys/block/xvdb/size")).toBe("8192");
	expect(await shell.run("dd if=/dev/xvdb bs=4 count=1 2>/dev/null")).toBe("****");
	expect(await xl("block-list", "debian")).toMatch(
		/^Vdev {2}BE {2}handle state evt-ch ring-ref BE-path {23}\n51728 0 {3}1 {6}4 {5}[-\d]+ +[-\d]+ +\/local\/domain\/0\/backend\/vbd\/1\/51728 *\n$/,
	);
	expect(await json("block-list", "debian")).toMatchObject([{ domain: 1, vdev: "xvdb", size: 4 * MIB, state: 4 }]);
	await xl("block-detach", "debian", "xvdb");
	expect(await shell.run("ls /sys/block | grep -c xvdb")).toBe("0");
	expect(await json("block-list", "debian")).toEqual([]);

	// And a network interface.
	await xl("network-attach", "debian", "mac=00:16:3e:0a:0b:0c", "bridge=lan");
	expect(await shell.run("until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done; cat /sys/class/net/eth0/address")).toBe(
		"00:16:3e:0a:0b:0c",
	);
	await until(async () => (await json("network-list", "debian"))[0]?.["state"] === 4);
	expect(await xl("network-list", "debian")).toMatch(
		/^Idx BE Mac Addr\. {9}handle state evt-ch {3}tx-\/rx-ring-ref BE-path {23}\n0 {3}0 {2}00:16:3e:0a:0b:0c {6}0 {5}4 +\d+ +\d+\/\d+ +\/local\/domain\/0\/backend\/vif\/1\/0 *\n$/,
	);
	expect(await json("network-list", "debian")).toMatchObject([{ domain: 1, devid: 0, bridge: "lan" }]);
	await xl("network-detach", "debian", "00:16:3e:0a:0b:0c");
	expect(await shell.run("ls /sys/class/net | grep -c eth0")).toBe("0");
	expect(await json("network-list", "debian")).toEqual([]);

	// Memory and vCPUs.
	const memory = async (): Promise<number> => (await json("list", "debian"))[0]?.["memory"] as number;
	await xl("mem-set", "--force", "debian", "96m");
	await until(async () => (await memory()) <= 97 * MIB);
	expect(await xl("list", "debian")).toMatch(/^debian {39}1 {4}9[67] /m);
	await xl("mem-max", "debian", "160");
	await xl("mem-set", "debian", "150");
	await until(async () => (await memory()) >= 149 * MIB);
	expect((await outcome("mem-set", "debian", "180")).status).toBe(0);
	await xl("vcpu-set", "debian", "2");
	await shell.run("until echo 1 >/sys/devices/system/cpu/cpu1/online; do sleep 0.1; done 2>/dev/null");
	expect((await xl("vcpu-list", "debian")).split("\n")[2]).toMatch(/^debian {31}1 {5}1 {4}0 {3}/);
	expect(await shell.run("nproc")).toBe("2");
	await xl("vcpu-set", "debian", "1");
	await until(async () => (await json("list", "debian"))[0]?.["onlineVcpus"] === 1);

	// A pause, and keys.
	await xl("pause", "debian");
	expect(await xl("list", "debian")).toMatch(/ -[-b]p--- /);
	const from = shell.text.length;
	shell.type("echo awake again\n");
	await xl("dump-core", "debian", join(directory, "core"));
	expect(statSync(join(directory, "core")).size).toBeGreaterThan(100 * MIB);
	const core = await open(join(directory, "core"));
	expect((await core.read(Buffer.alloc(4), 0, 4, 0)).buffer.toString("latin1")).toBe("\x7fELF");
	await core.close();
	expect(shell.text.slice(from)).toBe("");
	await xl("unpause", "debian");
	await shell.said("awake again", from);
	await xl("sysrq", "debian", "h");
	await shell.said("sysrq: HELP", from);
	await xl("trigger", "debian", "nmi");
	await shell.said("NMI received", from);

	// Its end; one that is not asked. Those who watch hear of both, and of the beginning between them.
	const special = utils && watcher(env, 6, "@introduceDomain", "@releaseDomain");
	await special?.said("@releaseDomain");
	const complained = complaints(shell.text.replace(/.*NMI.*\n/g, ""));
	const { status, err } = await outcome("shutdown", "-w", "debian");
	expect({ status, err }).toEqual({
		status: 0,
		err: "Shutting down domain 1\nWaiting for 1 domains\nDomain 1 has been shut down, reason code 0\n",
	});
	expect(await shell.ended).toBe(0);
	expect((await xl("list")).split("\n")).toHaveLength(3);
	expect(await outcome("domid", "debian")).toMatchObject({
		status: 1,
		err: expect.stringContaining("invalid domain"),
	});
	expect(() => statSync(join(directory, "agent"))).toThrow("ENOENT");
	await xl("create", "-q", join(directory, "deb.cfg"), "channel=[]");
	await until(async () => ((await json("list", "deb"))[0]?.["cpuSeconds"] as number) > 0.1);
	await xl("destroy", "deb");
	expect((await xl("list")).split("\n")).toHaveLength(3);
	await special?.ended;
	if (special !== undefined) {
		// Each once at the start; a shutdown, the end, a beginning, an end.
		const [introduce, release] = ["@introduceDomain", "@releaseDomain"];
		expect(special.text.trim().split("\n")).toEqual([introduce, release, release, release, introduce, release]);
	}
	expect(complained).toEqual([]);
}, 600_000);
