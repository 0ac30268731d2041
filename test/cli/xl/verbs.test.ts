import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeError } from "../../../src/cli/errors.ts";
import { REFUSED_VERBS } from "../../../src/cli/xl/refused.ts";
import { runXl, VERBS } from "../../../src/cli/xl/xl.ts";
import { DaemonClient } from "../../../src/daemon/client.ts";
import { type RunningDaemon, runDaemon } from "../../daemon/running.ts";
import { assembleEchoGuest, canAssemble } from "../../host/echo-guest.ts";

/** The commands that xl(1) of Xen 4.17 documents. */
const DOCUMENTED =
	`button-press create config-update console destroy domid domname rename dump-core help list mem-set mem-max migrate
	remus pause reboot restore save sharing shutdown sysrq trigger unpause vcpu-set vcpu-list vcpu-pin vm-list vncviewer debug-keys
	set-parameters dmesg info top uptime claims sched-credit sched-credit2 sched-rtds cpupool-create cpupool-list cpupool-destroy
	cpupool-rename cpupool-cpu-add cpupool-cpu-remove cpupool-migrate cpupool-numa-split block-attach block-detach block-list cd-insert
	cd-eject network-attach network-detach network-list channel-list vtpm-attach vtpm-detach vtpm-list vdispl-attach vdispl-detach
	vdispl-list vsnd-attach vsnd-detach vsnd-list vkb-attach vkb-detach vkb-list pci-assignable-list pci-assignable-add
	pci-assignable-remove pci-attach pci-detach pci-list usbctrl-attach usbctrl-detach usbdev-attach usbdev-detach usb-list
	qemu-monitor-command getenforce setenforce loadpolicy psr-hwinfo psr-cmt-attach psr-cmt-detach psr-cmt-show psr-cat-set psr-cat-show
	psr-mba-set psr-mba-show`
		.trim()
		.split(/\s+/);

class Sink extends Writable {
	text = "";
	override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
		this.text += chunk.toString();
		done();
	}
}

interface Outcome {
	readonly status: number;
	readonly out: string;
	readonly err: string;
}

async function xl(...args: string[]): Promise<Outcome> {
	const stdout = new Sink();
	const stderr = new Sink();
	try {
		return { status: await runXl(args, { stdout, stderr }), out: stdout.text, err: stderr.text };
	} catch (error) {
		const { text, status } = describeError(error);
		return { status, out: stdout.text, err: stderr.text + text };
	}
}

/** What a verb printed that succeeded. */
async function done(...args: string[]): Promise<string> {
	const { status, out, err } = await xl(...args);
	expect({ status, err }, args.join(" ")).toMatchObject({ status: 0 });
	return out;
}

describe("xl's commands", () => {
	it("are all there or refused by name", async () => {
		const known = [...VERBS.map(({ name }) => name), ...Object.keys(REFUSED_VERBS), "help"];
		expect(DOCUMENTED.filter((name) => !known.includes(name))).toEqual([]);
		for (const name of Object.keys(REFUSED_VERBS)) {
			const { status, err } = await xl(name, "anything");
			expect(status).not.toBe(0);
			expect(err).toMatch(new RegExp(`^paravirt: xl ${name} is not supported by paravirt: .+\\n.+\\.\\n$`));
		}
	});

	it("are listed by help, from the fifth line on, and explained", async () => {
		const lines = (await done("help")).split("\n");
		expect(lines.filter((line) => line.length > 80)).toEqual([]);
		expect(lines[0]).toBe("Usage xl [-vfNtT] <subcommand> [args]");
		const names = lines.slice(4, -1).map((line) => /^ (\S+) +\S/.exec(line)?.[1]);
		expect(names).toEqual(VERBS.map(({ name }) => name));
		for (const { name, options = [] } of VERBS) {
			const text = await done("help", name);
			expect(text).toMatch(new RegExp(`^Usage: xl ${name}`));
			for (const { short, long } of options) expect(text).toContain(short === undefined ? `--${long}` : `-${short}`);
			expect(await done(name, "-h")).toBe(text);
			expect(text.split("\n").filter((line) => line.length > 80)).toEqual([]);
		}
	});

	it.each([
		[["lst"], 'command "lst" not implemented', "Did you mean list?"],
		[["pause"], "pause: too few arguments", "xl pause <Domain>"],
		[["pause", "a", "b"], 'pause: "b" is one argument too many', "xl pause <Domain>"],
		[["list", "-Q"], "list: unknown option -Q", "xl help list"],
		[["list", "--quite"], "list: unknown option --quite", "xl help list"],
		[["console", "-t"], "console: -t needs a value", "-t <type>"],
		[["list", "-Z"], "list: -Z is not supported", "Leave -Z out."],
		[["create"], "create: no configuration file", "create FILE"],
	] as const)("refuse %j", async (args, message, remedy) => {
		const { status, err, out } = await xl(...args);
		expect({ status, out }).toEqual({ status: 2, out: "" });
		expect(err).toContain(message);
		expect(err).toContain(remedy);
	});
});

describe.runIf(canAssemble)("xl's verbs", () => {
	let running: RunningDaemon;
	let client: DaemonClient;
	const { directory, kernel } = canAssemble ? assembleEchoGuest() : { directory: "", kernel: "" };
	const file = join(directory, "echo.cfg");
	const before = { ...process.env };
	beforeAll(async () => {
		running = await runDaemon();
		Object.assign(process.env, running.environment);
		client = await DaemonClient.connect(running.paths);
		writeFileSync(
			file,
			`name = "echo"\nkernel = "${kernel}"\nextra = "hello"\nmemory = 8\nmaxmem = 16\nvcpus = 1\nmaxvcpus = 2\n`,
		);
		await done("create", "-p", file);
	});
	afterAll(async () => {
		client.close();
		await running.close();
		process.env = before;
		rmSync(directory, { recursive: true });
	});

	it("print xl's columns", async () => {
		const row = "echo                                         1     8     1     --p---       0.0";
		expect((await done("list")).split("\n")).toEqual([
			"Name                                        ID   Mem VCPUs\tState\tTime(s)",
			"Domain-0                                     0     0     0     ------       0.0",
			row,
			"",
		]);
		expect(await done("list", "-v", "echo")).toMatch(/echo {41}1 .* 0\.0 [0-9a-f-]{36} {8}- {16}-\n$/);
		expect((await done("vcpu-list", "echo")).split("\n")).toEqual([
			"Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)",
			expect.stringMatching(/^echo {33}1 {5}0 {4}0 {3}--- {7}0\.0 {2}all \/ all$/),
			"echo                                 1     1    -   --p       0.0  all / all",
			"",
		]);
		expect(await done("uptime", "echo")).toMatch(/^Name {32}ID Uptime\necho {33}1 {2}0:00:\d\d\n$/);
		expect(await done("uptime", "-s", "echo")).toMatch(/^ \d\d:\d\d:\d\d up {2}0:00, echo \(1\)\n$/);
		expect(await done("vm-list")).toMatch(/^UUID {34}ID {4}name\n[0-9a-f-]{36} {2}1 {4}echo {26}\n$/);
		expect(await done("block-list", "echo")).toBe(`Vdev  BE  handle state evt-ch ring-ref BE-path${" ".repeat(23)}\n`);
		expect(await done("info")).toMatch(/^xen_version {12}: 4\.17\.\d/m);
		expect(await done("info", "-n")).toContain("No device topology data available");
		expect(await done("sched-credit")).toContain("Name                                ID Weight  Cap\n");
		expect(await done("top", "-b", "-i", "1")).toMatch(/NAME {2}STATE .*\n {2}Domain-0 .*\n {6}echo --p--- /);
	});

	it("print JSON", async () => {
		for (const verb of ["list", "vcpu-list", "vm-list", "uptime", "sched-credit"]) {
			const found = JSON.parse(await done(verb, "--json")) as { id: number }[];
			expect(found.at(-1), verb).toMatchObject({ id: 1, name: "echo" });
		}
		expect(JSON.parse(await done("info", "--json"))).toMatchObject({ totalMemory: 256 * 2 ** 20, xen_major: 4 });
		expect(JSON.parse(await done("block-list", "--json", "echo"))).toEqual([]);
		const [{ domid, config }] = JSON.parse(await done("list", "-l")) as [{ domid: number; config: unknown }];
		expect({ domid, config }).toMatchObject({
			domid: 1,
			config: { c_info: { type: "pv", name: "echo" }, b_info: { kernel, cmdline: "hello", max_vcpus: 2 } },
		});
		expect(JSON.parse(await done("top", "--json", "-i1"))).toMatchObject({ domains: [{}, { name: "echo" }] });
	});

	it("check a configuration without creating anything", async () => {
		const out = await done("create", "-n", file, 'name="other"', "memory=12");
		expect(out).toMatch(/^Parsing config from .*echo\.cfg\n/);
		expect(JSON.parse(out.slice(out.indexOf("{")))).toMatchObject({
			c_info: { name: "other" },
			b_info: { target_memkb: 12288, max_memkb: 16384 },
		});
		expect((await xl("domid", "other")).status).toBe(1);
		const { status, err } = await xl("create", file, "memory=lots");
		expect(status).toBe(1);
		expect(err).toContain('command line:1: "lots" where a value belongs');
	});

	it("tell all that is wrong with a configuration, and what the host does not have", async () => {
		const wrong = join(directory, "wrong.cfg");
		writeFileSync(
			wrong,
			`name = "wrong"
kernel = "/none/vmlinuz"
ramdisk = "/none/initrd"
memory = 100000
uuid = "zzz"
disk = [ '/none/a,raw,xvda,rw', 'https://none.invalid/b,raw,xvdb,r', '${kernel},raw,xvdc,r' ]
p9 = [ 'tag=t,path=/none/folder,security_model=none' ]
acpi = 1
cpus = "0-1"
`,
		);
		for (const options of [["-n"], []]) {
			const { status, err } = await xl("create", ...options, wrong);
			expect(status).toBe(1);
			expect(err.split("\n").filter((line) => line.startsWith("paravirt: "))).toEqual([
				`paravirt: ${wrong}:9: cpus = "0-1": virtual processors are not pinned, since the host has no CPU 1`,
				`paravirt: ${wrong}: acpi is for HVM and PVH guests and ignored, as xl does with a PV guest`,
				`paravirt: ${wrong}:2: kernel: /none/vmlinuz: no such file`,
				`paravirt: ${wrong}:3: ramdisk: /none/initrd: no such file`,
				`paravirt: ${wrong}:4: memory: 100000 MiB is more than the 256 MiB that the host has`,
				`paravirt: ${wrong}:5: uuid: "zzz" is no UUID`,
				`paravirt: ${wrong}:6: disk: /none/a: no such file`,
				`paravirt: ${wrong}:7: p9: /none/folder: no such file`,
			]);
		}
	});

	it("take pygrub for PV-GRUB", async () => {
		const loader = join(directory, "pygrub.cfg");
		writeFileSync(loader, 'name = "loaded"\nbootloader = "/usr/lib/xen-4.17/bin/pygrub"\nmemory = 64\n');
		const { status, out, err } = await xl("create", "-n", loader);
		expect({ status, err }).toEqual({ status: 0, err: expect.stringContaining("PV-GRUB takes its place") });
		expect(out).toContain("grub-x86_64-xen.bin");
	});

	it("change a domain", async () => {
		expect(await done("domid", "echo")).toBe("1\n");
		expect(await done("domname", "1")).toBe("echo\n");
		await done("rename", "echo", "echo2");
		expect(await done("domname", "1")).toBe("echo2\n");
		await done("rename", "1", "echo");
		await done("sched-credit", "-d", "echo", "-w", "512", "-c50");
		expect(await done("sched-credit", "-d", "echo")).toMatch(/echo {33}1 {4}512 {3}50\n/);
		const { status, err } = await xl("mem-set", "echo", "7m");
		expect({ status, err }).toEqual({
			status: 1,
			err: expect.stringContaining("7 MiB is less than the 8 MiB that the kernel of domain 1 may need to live"),
		});
		expect(err).toContain("--force");
		await done("mem-set", "-f", "echo", "7m");
		await done("mem-max", "echo", "12");
		await done("vcpu-set", "echo", "2");
		await done("vcpu-pin", "echo", "all", "0", "all");
		await done("unpause", "echo");
		await done("pause", "echo");
		expect(await done("list", "echo")).toContain("--p---");
		await done("trigger", "echo", "nmi");
		await done("sysrq", "echo", "h");
		const home = running.environment["XDG_STATE_HOME"] as string;
		await done("dump-core", "echo");
		expect(readFileSync(join(home, "paravirt/dump/echo.core")).subarray(0, 4).toString("latin1")).toBe("\x7fELF");
		await done("dump-core", "-L", "echo", join(directory, "core"));
		expect(existsSync(join(directory, "core"))).toBe(true);
		await done("dump-core", "--format", "gdb", "echo", join(directory, "core.gdb"));
		// ET_CORE with program headers, which Xen's format does not have.
		const core = readFileSync(join(directory, "core.gdb"));
		expect([core.readUInt16LE(16), core.readUInt16LE(56) > 1]).toEqual([4, true]);
		expect((await xl("dump-core", "--format", "raw", "echo")).err).toContain("there is no format raw");
	});

	it("show the hypervisor's messages, each with one (XEN)", async () => {
		await done("create", "-q", file, 'name="crash"', 'on_crash="destroy"');
		const ended = client.request("follow", { domain: "crash", restarts: false });
		client.stream("console", { domain: "crash", number: 0, restarts: false }, () => {}).write(Buffer.from("!"));
		await ended;
		expect(await done("dmesg")).toMatch(/^(\(XEN\) (?!\(XEN\)).*\n)+$/);
		await done("dmesg", "-c");
		expect(await done("dmesg")).toBe("");
	});

	it.each([
		[["pause", "none"], 1, 'no domain called "none"'],
		[["list", "none"], 1, "none is an invalid domain identifier"],
		[["domid", "none"], 1, "none is an invalid domain identifier"],
		[["vcpu-set", "echo", "3"], 1, "cannot have 3 vCPUs"],
		[["vcpu-set", "echo", "x"], 2, '"x" is no number of vCPUs'],
		[["vcpu-pin", "echo", "0", "1"], 2, "the host has no CPU 1"],
		[["mem-set", "echo", "lots"], 2, "invalid memory size: lots"],
		[["mem-set", "echo", "1g"], 1, "is more than"],
		[["trigger", "echo", "power"], 1, 'no trigger "power"'],
		[["sysrq", "echo", "no"], 1, '"no" is no SysRq key'],
		[["sched-credit", "-d", "echo", "-w", "0"], 1, "0 is no weight"],
		[["sched-credit", "-s"], 2, "the scheduler has no parameters"],
		[["block-attach", "echo", "x,vhd,xvda,rw"], 2, "format vhd is not supported"],
		[["block-attach", "echo", "/no/such/disk,raw,xvda,rw"], 1, "/no/such/disk"],
		[["block-detach", "echo", "xvda"], 1, "no such disk"],
		[["console", "-t", "serial", "echo"], 2, 'no console of type "serial"'],
		[["console", "-n", "9", "echo"], 1, "domain 1 (echo) has no console 9"],
		[["console", "-n", "x", "echo"], 2, '"x" is no console number'],
		[["console", "-e", "^^^", "echo"], 2, "is no character"],
	] as const)("refuse %j with status %i", async (args, status, message) => {
		const outcome = await xl(...args);
		expect(outcome.err).toContain(message);
		expect(outcome.err).not.toContain("    at ");
		expect(outcome.status).toBe(status);
	});

	it("attach and detach disks", async () => {
		const image = join(directory, "disk.img");
		writeFileSync(image, new Uint8Array(1 << 20));
		await done("block-attach", "echo", image, "raw", "xvda", "w");
		expect(await done("block-list", "echo")).toMatch(
			/\n51712 0 {3}1 {6}\d {5}-1 {5}-1 {7}\/local\/domain\/0\/backend\/vbd\/1\/51712\s*\n$/,
		);
		expect(JSON.parse(await done("block-list", "--json", "1"))).toMatchObject([{ vdev: "xvda", size: 1 << 20 }]);
		await done("block-detach", "--force", "echo", "xvda");
		expect(JSON.parse(await done("block-list", "--json", "1"))).toEqual([]);
	});

	it("wait for the end of a domain in the foreground", async () => {
		const created = xl("create", "-F", file, 'name="short"', 'on_poweroff="destroy"');
		const stream = await new Promise<ReturnType<typeof client.stream<"console">>>((resolve) => {
			const look = async (): Promise<void> => {
				const found = (await client.request("list", {})).some(({ name }) => name === "short");
				if (!found) setTimeout(look, 20);
				else resolve(client.stream("console", { domain: "short", number: 0, restarts: false }, () => {}));
			};
			void look();
		});
		stream.write(Buffer.from("."));
		expect(await created).toMatchObject({
			status: 0,
			err: expect.stringMatching(
				/Waiting for domain short \(domid 3\) to die \[pid \d+\]\nDomain 3 has shut down, reason code 0 0x0\nAction for shutdown reason code 0 is destroy\n/,
			),
		});
	});

	it("destroy, and wait for others that do", async () => {
		const ended = client.request("follow", { domain: "echo", restarts: false });
		await done("destroy", "echo");
		await ended;
		expect((await done("list")).split("\n")).toHaveLength(3);
		expect(await done("shutdown", "-a", "-w")).toBe("");
	});
});

describe("without a daemon", () => {
	const before = { ...process.env };
	afterAll(() => {
		process.env = before;
	});

	it("there are no domains, and verbs tell how to start one", async () => {
		process.env["XDG_RUNTIME_DIR"] = "/nonexistent-runtime";
		const listed =
			"Name                                        ID   Mem VCPUs\tState\tTime(s)\n" +
			"Domain-0                                     0     0     0     ------       0.0\n";
		expect(await done("list")).toBe(listed);
		expect(await done("list", "Domain-0")).toBe(listed);
		expect((await xl("list", "other")).status).toBe(1);
		const { status, err } = await xl("pause", "x");
		expect(status).toBe(1);
		expect(err).toMatch(/^paravirt: no daemon runs\n.*paravirt daemon start/);
	});
});
