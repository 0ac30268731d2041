/** What a host does with Debian's kernel as guests: memory, vCPUs, requests, triggers, dumps, restarts. One boot for all of it, and one beside it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { type DomainOptions, type GuestDomain, Host } from "../../src/index.ts";
import { createFile } from "../../src/platform/node/platform.ts";
import { openKernel, vmlinuxWithSymbols } from "../../src/xen/boot/index.ts";
import { complaints } from "./guest.ts";
import { GuestShell } from "./shell.ts";

const MIB = 2 ** 20;
const hasGdb = spawnSync("gdb", ["--version"]).status === 0;

/** Resolved when `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
	while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

let images: { readonly kernel: Uint8Array; readonly ramdisk: Uint8Array };
let directory = "";
beforeAll(async () => {
	const guest = await debianGuest({});
	images = { kernel: readFileSync(guest.kernel), ramdisk: await guestInitramfs(guest, {}) };
	directory = mkdtempSync(join(tmpdir(), "paravirt-lifecycle-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

it("manages Debian's kernel through its life", async () => {
	const host = new Host({ memory: 512 * MIB, coreDirectory: directory, restartInterval: 0 });
	const empty = host.use();
	const shells: GuestShell[] = [];
	const common = { ...images, commandLine: "console=hvc0 paravirt.input=pipe" };
	const start = (options: Partial<DomainOptions> & { readonly memory: number }): Promise<GuestDomain> =>
		host.createDomain({ ...common, ...options }, (domain) => {
			shells.push(new GuestShell(domain));
		});
	const alpha = await start({
		name: "alpha",
		memory: 128 * MIB,
		maximumMemory: 192 * MIB,
		vcpus: 1,
		maximumVcpus: 2,
		onReboot: "restart",
		onCrash: "coredump-destroy",
	});
	const beta = await start({
		name: "beta",
		memory: 96 * MIB,
		weight: 512,
		onWatchdog: "destroy",
	});
	const [shell, other] = shells as [GuestShell, GuestShell];
	await Promise.all([shell.ready(), other.ready()]);

	// It has booted with less memory than its map tells of, and with one of its vCPUs.
	const total = async (): Promise<number> =>
		Number(/MemTotal: +(\d+)/.exec(await shell.output("grep MemTotal /proc/meminfo"))?.[1]) * 1024;
	const before = await total();
	expect(before).toBeLessThan(128 * MIB);
	expect(alpha.info().memory).toBeLessThanOrEqual(129 * MIB);
	await until(() => alpha.info().onlineVcpus === 1);
	expect(alpha.info()).toMatchObject({ vcpus: 2, wantedVcpus: 1, staticMaximumMemory: 192 * MIB });

	// Memory goes to the machine and comes back, as far as it may.
	const free = host.info().freeMemory;
	alpha.setMemoryTarget(96 * MIB, { force: true });
	await until(() => alpha.info().memory <= 97 * MIB);
	expect(host.info().freeMemory - free).toBeGreaterThan(30 * MIB);
	alpha.setMemoryTarget(192 * MIB);
	await until(() => alpha.info().memory >= 191 * MIB);
	expect(await total()).toBeGreaterThan(before + 60 * MIB);
	expect(alpha.info().memory).toBeLessThanOrEqual(alpha.info().maximumMemory);

	// vCPUs come and go.
	alpha.setVcpus(2);
	await until(() => alpha.info().wantedVcpus === 2);
	await shell.output("until echo 1 >/sys/devices/system/cpu/cpu1/online; do sleep 0.1; done 2>/dev/null");
	expect(alpha.vcpus().map(({ online }) => online)).toEqual([true, true]);
	alpha.setVcpus(1);
	await until(() => alpha.info().onlineVcpus === 1);
	expect(alpha.vcpus()[1]).toMatchObject({ online: false, state: "--p" });

	// A paused guest does nothing, and the other goes on.
	alpha.pause();
	const { cpuSeconds } = alpha.info();
	alpha.console.write("echo awake\n");
	expect(await other.output("echo $((6 * 7))")).toBe("42");
	expect(alpha.info()).toMatchObject({ paused: true, running: false, cpuSeconds });
	alpha.unpause();
	await shell.said(/awake/);

	alpha.sysrq("h");
	await shell.said(/sysrq: HELP/);
	alpha.trigger("nmi");
	await shell.said(/NMI received/);

	// Where its kernel's name is, in a dump as the guest knows it itself.
	const banner = await shell.output("grep ' linux_banner$' /proc/kallsyms");
	const core = join(directory, "alpha-gdb");
	const file = await createFile(core);
	await alpha.dumpCore((piece) => file.write(piece), { format: "gdb" });
	await file.close();
	if (hasGdb) {
		const args = ["-nx", "-batch", "-core", core, "-ex", `x/s 0x${banner.split(" ")[0]}`];
		expect(spawnSync("gdb", args, { encoding: "utf8" }).stdout).toMatch(/"Linux version 6\.\d/);
		// And by its own name, from the kernel that is unpacked with its symbols.
		const kernel = join(directory, "vmlinux");
		writeFileSync(kernel, vmlinuxWithSymbols(openKernel(images.kernel, "vmlinuz").elf));
		const named = ["-nx", "-batch", kernel, core, "-ex", "x/s &linux_banner"];
		expect(spawnSync("gdb", named, { encoding: "utf8" }).stdout).toMatch(/ in \w+ \(\)[\s\S]*:\s+"Linux version 6\.\d/);
	}
	rmSync(core);

	// It starts again when it is asked to, and is gone with a dump when it crashes.
	await alpha.reboot();
	expect(await alpha.ended).toMatchObject({ reason: "reboot", action: "restart" });
	const again = (await alpha.successor) as GuestDomain;
	expect([again.name, again.uuid, again.info().memory]).toEqual(["alpha", alpha.uuid, 128 * MIB]);
	const fresh = shells[2] as GuestShell;
	await fresh.ready();
	// Debian's kernel lets only some keys through.
	await fresh.output("echo 1 >/proc/sys/kernel/sysrq");
	again.sysrq("c");
	expect(await again.ended).toMatchObject({ reason: "crash", action: "coredump-destroy" });
	expect(await again.successor).toBe(undefined);
	expect(again.isDestroyed).toBe(true);
	expect(fresh.console).toContain("sysrq: Trigger a crash");
	expect(statSync(join(directory, "alpha.core")).size).toBeGreaterThan(126 * MIB);

	// A watchdog is fed by a daemon of the guest's; without that, it is the end, and not before.
	await other.output("modprobe xen_wdt; watchdog -t 1 -T 2 /dev/watchdog; sleep 4");
	await other.output("kill -STOP $(pidof watchdog)");
	expect(await beta.ended).toMatchObject({ reason: "watchdog", action: "destroy" });
	await beta.successor;
	expect({ ...host.use(), storeNodes: 0 }).toEqual({ ...empty, storeNodes: 0 });
	expect(complaints(other.console)).toEqual([]);
	expect(complaints(shell.console.replace(/.*NMI.*\n/g, ""))).toEqual([]);
	host.stop();
}, 600_000);
