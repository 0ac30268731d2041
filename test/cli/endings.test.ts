/**
 * Every command ends, also one that is refused: each subcommand and each verb of xl with what it cannot do, while a daemon runs with a domain, and
 * with standard input that stays open. A command that does not end is killed, and has no status then.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VERBS } from "../../src/cli/xl/xl.ts";
import { DaemonClient } from "../../src/daemon/client.ts";
import { daemonPaths } from "../../src/daemon/paths.ts";
import { ownEnvironment } from "../daemon/running.ts";
import { assembleEchoGuest, canAssemble } from "../host/echo-guest.ts";
import { type Bundle, bundleCommand } from "./bundle.ts";
import { type Outcome, runProgram } from "./program.ts";

/** Milliseconds that a command may take: it is killed after them. */
const PATIENCE = 60_000;

/** The command line, its exit status, and what it says. */
type Row = readonly [line: string, status: number, message: RegExp];

const NO_DOMAIN = /nosuch/;
const USAGE = /^paravirt: /;

/** KERNEL stands for a kernel, NOT-A-KERNEL for a file that is none. */
const ROWS: readonly Row[] = [
	["", 2, /Usage: paravirt/],
	["nosuch", 2, /unknown command nosuch/],
	["--nosuch", 2, /unknown option --nosuch/],
	["boot nosuch", 1, /nosuch: no such file/],
	["boot KERNEL more", 2, /one argument too many/],
	["boot NOT-A-KERNEL", 1, /NOT-A-KERNEL|not-a-kernel/],
	["boot KERNEL --memory none", 2, /no size/],
	["boot KERNEL --memory 9999G", 2, /more than a machine can have/],
	["boot KERNEL --vcpus 0", 2, /not possible/],
	["boot KERNEL --ramdisk nosuch", 1, /nosuch: no such file/],
	["boot KERNEL --memory 16M --disk nosuch.img,raw,xvda,r", 1, /nosuch\.img/],
	["boot KERNEL --memory 16M --disk NOT-A-KERNEL,qcow2,xvda,r", 1, /qcow2/],
	["boot KERNEL --memory 16M --share nosuch", 1, /nosuch/],
	["boot KERNEL --memory 16M --net bridge=", 2, USAGE],
	["boot KERNEL --memory 16M --stats /nosuch/file", 1, /\/nosuch\/file/],
	["boot KERNEL --memory 16M --profile /nosuch/file", 1, /\/nosuch\/file/],
	["boot KERNEL --trace nosuch", 2, /not possible/],
	["boot --grub nosuch", 1, /nosuch/],
	["run nosuch.img", 1, /nosuch\.img: no such file/],
	["run --kernel nosuch", 1, /nosuch: no such file/],
	["run --", 2, /no command/],
	["run --own-kernel", 2, /no image/],
	["inspect", 2, /needs a kernel/],
	["inspect nosuch", 1, /nosuch: no such file/],
	["inspect NOT-A-KERNEL", 1, USAGE],
	["image", 2, /needs an action/],
	["image create", 2, /needs a file/],
	["image create there.img --size 1", 2, /too small/],
	["image create /nosuch/there.img", 1, /\/nosuch/],
	["daemon", 2, /nothing to do/],
	["daemon nosuch", 2, /unknown action/],
	["daemon start", 1, /runs already/],
	["daemon start --idle soon", 2, /no time/],
	["daemon run", 0, /runs already/],
	["daemon stop", 1, /has a domain/],
	["daemon status", 0, /socket/],
	["daemon status --json", 0, /"domains": 1/],
	["xl", 1, /Usage xl/],
	["xl nosuch", 2, /not implemented/],
	["xl save held file", 2, /not supported/],
	["xl create", 2, /no configuration file/],
	["xl create nosuch.cfg", 1, /nosuch\.cfg: no such file/],
	["xl create HELD.cfg", 1, /held/],
	["xl create HELD.cfg -c", 1, /held/],
	["xl create HELD.cfg -F", 1, /held/],
	["xl list nosuch", 1, NO_DOMAIN],
	["xl list --nosuch", 2, USAGE],
	["xl vcpu-list nosuch", 1, NO_DOMAIN],
	["xl vcpu-pin nosuch 0 all", 1, NO_DOMAIN],
	["xl vm-list more", 2, USAGE],
	["xl domid nosuch", 1, NO_DOMAIN],
	["xl domname 999", 1, /999/],
	["xl uptime nosuch", 1, NO_DOMAIN],
	["xl sched-credit -d nosuch -w 5", 1, NO_DOMAIN],
	["xl sched-credit -d held -w 0", 1, /weight/],
	["xl dmesg more", 2, USAGE],
	["xl info more", 2, USAGE],
	["xl console nosuch", 1, NO_DOMAIN],
	["xl console -n 7 held", 1, /console/],
	["xl console -e long held", 2, /no character/],
	["xl destroy nosuch", 1, NO_DOMAIN],
	["xl shutdown nosuch", 1, NO_DOMAIN],
	["xl shutdown -w nosuch", 1, NO_DOMAIN],
	["xl reboot nosuch", 1, NO_DOMAIN],
	["xl reboot", 2, /no domain/],
	["xl pause nosuch", 1, NO_DOMAIN],
	["xl unpause nosuch", 1, NO_DOMAIN],
	["xl rename nosuch other", 1, NO_DOMAIN],
	["xl rename held Domain-0", 1, /Domain-0/],
	["xl mem-set nosuch 64", 1, NO_DOMAIN],
	["xl mem-set held none", 2, /invalid memory size/],
	["xl mem-max nosuch 64", 1, NO_DOMAIN],
	["xl vcpu-set nosuch 2", 1, NO_DOMAIN],
	["xl vcpu-set held many", 2, USAGE],
	["xl sysrq nosuch b", 1, NO_DOMAIN],
	["xl sysrq held toolong", 1, /toolong/],
	["xl trigger nosuch nmi", 1, NO_DOMAIN],
	["xl trigger held nosuch", 2, /Invalid trigger/],
	["xl dump-core nosuch file", 1, NO_DOMAIN],
	["xl dump-core held /nosuch/file", 1, /\/nosuch\/file/],
	["xl block-list nosuch", 1, NO_DOMAIN],
	["xl block-attach nosuch NOT-A-KERNEL,raw,xvdb,r", 1, NO_DOMAIN],
	["xl block-attach held nosuch.img,raw,xvdb,r", 1, /nosuch\.img/],
	["xl block-detach held xvdz", 1, /xvdz/],
	["xl network-list nosuch", 1, NO_DOMAIN],
	["xl network-attach nosuch", 1, NO_DOMAIN],
	["xl network-attach held nosuch=1", 2, USAGE],
	["xl network-detach held 9", 1, /9/],
	["xl channel-list nosuch", 1, NO_DOMAIN],
	["xl top -i none", 2, USAGE],
	["xl top -b -i 1", 0, /xentop/],
];

describe.runIf(canAssemble && process.platform === "linux")("every command ends", () => {
	const { directory, environment } = ownEnvironment();
	const paths = daemonPaths(environment);
	const guest = canAssemble ? assembleEchoGuest() : { directory, kernel: "" };
	let bundle: Bundle;

	/** Runs a command with an input that does not end. */
	async function run(line: string, env = environment): Promise<Outcome> {
		const words = line.split(" ").filter((word) => word !== "");
		const args = words.map((word) =>
			word.replace(/^KERNEL$/, guest.kernel).replace(/^(?:HELD|NOT-A)/, `${directory}/$&`),
		);
		return await runProgram([...bundle.paravirt, ...args], { env, keepOpen: true, patience: PATIENCE });
	}

	beforeAll(async () => {
		bundle = await bundleCommand();
		writeFileSync(join(directory, "NOT-A-KERNEL"), "This is no kernel.\n".repeat(100));
		const config = `name = "held"\nkernel = "${guest.kernel}"\nextra = "ready"\nmemory = 8\n`;
		writeFileSync(join(directory, "HELD.cfg"), config);
		expect(await run("xl create HELD.cfg")).toMatchObject({ status: 0 });
	});
	afterAll(async () => {
		const client = await DaemonClient.connect(paths).catch(() => undefined);
		await client?.request("stop", { force: true });
		await client?.closed;
		bundle?.close();
		rmSync(guest.directory, { recursive: true, force: true });
		rmSync(directory, { recursive: true, force: true });
	});

	it("and every verb is among them", () => {
		const named = ROWS.map(([line]) => line.split(" ")).filter(([command]) => command === "xl");
		expect(VERBS.map(({ name }) => name).filter((name) => !named.some(([, verb]) => verb === name))).toEqual([]);
	});

	it.concurrent.each(ROWS)("paravirt %s: %i", async (line, expected, message) => {
		const { status, stdout, stderr } = await run(line);
		expect(`${stdout}${stderr}`).toMatch(message);
		expect(`${stdout}${stderr}`).not.toContain("a bug in paravirt");
		expect(status).toBe(expected);
	});

	describe("where something else listens on the daemon's socket", () => {
		const other = ownEnvironment();
		const { directory: place, socket } = daemonPaths(other.environment);
		let server: Server | undefined;
		const open = new Set<Socket>();
		const listen = async (greeting: string): Promise<void> => {
			mkdirSync(place, { recursive: true, mode: 0o700 });
			server = createServer((connection) => {
				open.add(connection);
				connection.on("error", () => {});
				connection.write(greeting);
			});
			await new Promise<void>((resolve) => server?.listen(socket, resolve));
		};
		const close = async (): Promise<void> => {
			for (const connection of open) connection.destroy();
			await new Promise((resolve) => server?.close(resolve));
		};
		afterAll(() => rmSync(other.directory, { recursive: true, force: true }));

		const greetings: readonly (readonly [greeting: string, message: RegExp])[] = [
			["hello\n", /is no daemon/],
			["x".repeat(1 << 21), /is no daemon/],
			['{"paravirt":"9.9","protocol":999}\n', /of version 9\.9/],
		];
		it.each(greetings)("%.20s", async (greeting, message) => {
			await listen(greeting);
			for (const line of ["xl list", "daemon status", "daemon stop"]) {
				const { status, stderr } = await run(line, other.environment);
				expect(stderr).toMatch(message);
				expect(status).toBe(1);
			}
			await close();
		});

		it("and says nothing", async () => {
			await listen("");
			await expect(DaemonClient.connect(daemonPaths(other.environment), 50)).rejects.toMatchObject({
				code: "no-answer",
			});
			await close();
		});
	});
});
