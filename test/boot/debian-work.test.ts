/**
 * A Debian system at work, on a disk and two networks: it installs a package from the machine's mirror through the NAT, fio writes a disk at
 * random and finds what it wrote, also from another kernel afterwards, iperf3 passes data between two guests, stress-ng verifies what it computes.
 */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { type GuestDomain, Host } from "../../src/index.ts";
import { debianImage, hasImageTools, mirrorMissing } from "./debian-image.ts";
import { complaints, hypervisorComplaints } from "./guest.ts";
import { GuestShell } from "./shell.ts";

const MIB = 2 ** 20;
/** Of one test on a busy machine. */
const LIMIT = 600_000;
const COMMAND_LINE = "console=hvc0 root=/dev/xvda rw quiet systemd.show_status=0";

/** Writes at random places, of sizes between a sector and 64 KiB, several at once; each block carries its checksum. */
const FIO = [
	"fio --name=work --filename=/dev/xvdb --rw=randwrite --bsrange=512-64k --blockalign=512 --size=24M --randseed=4",
	"--direct=1 --ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1 --output-format=json",
].join(" ");

/** Each with what it does at the most; all of them check their own results. */
const STRESSORS: Readonly<Record<string, string>> = {
	cpu: "--cpu 1 --cpu-method all --cpu-ops 90",
	"floating point": "--fp 1 --fp-ops 5 --matrix 1 --matrix-ops 50",
	vm: "--vm 1 --vm-bytes 8M --vm-method all --vm-ops 8000",
	memory: "--memcpy 1 --memcpy-ops 20 --mmap 1 --mmap-ops 3 --mmap-bytes 4M --atomic 1 --atomic-ops 20",
	processes: "--fork 1 --fork-ops 50 --switch 1 --switch-ops 2000 --futex 1 --futex-ops 1000",
};

interface FioReport {
	readonly jobs: readonly {
		readonly error: number;
		readonly write: { readonly io_bytes: number };
		readonly read: { readonly io_bytes: number };
	}[];
}

interface IperfReport {
	readonly end: { readonly sum_sent: { readonly bytes: number }; readonly sum_received: { readonly bytes: number } };
}

const missing = hasImageTools ? await mirrorMissing() : "mmdebstrap or qemu-img is not installed";

describe.skipIf(missing !== undefined)(`a Debian system at work${missing === undefined ? "" : ` (${missing})`}`, () => {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-work-"));
	const disk = join(directory, "disk.raw");
	const shells: GuestShell[] = [];
	const domains: GuestDomain[] = [];
	let host: Host;
	let image = "";

	/** On a temporary overlay of the image. */
	async function start(more: string, networks: readonly string[], disks: readonly string[]): Promise<GuestShell> {
		const guest = await debianGuest();
		let shell: GuestShell | undefined;
		const domain = await host.createDomain(
			{
				kernel: guest.kernel,
				ramdisk: await guestInitramfs(guest),
				commandLine: COMMAND_LINE + more,
				memory: 384 * MIB,
				networks,
				disks: [`${image},raw,xvda,rw,snapshot`, ...disks],
			},
			(created) => {
				shell = new GuestShell(created);
				shells.push(shell);
			},
		);
		domains.push(domain);
		return shell as GuestShell;
	}

	/** Without systemd: a shell in the place of init. */
	async function startShell(networks: readonly string[], disks: readonly string[]): Promise<GuestShell> {
		const shell = await start(" init=/bin/bash", networks, disks);
		await shell.login("root@");
		await shell.output("mount -t tmpfs tmpfs /tmp");
		return shell;
	}

	beforeAll(async () => {
		image = await debianImage();
		writeFileSync(disk, "");
		truncateSync(disk, 32 * MIB);
		host = new Host({ memory: 840 * MIB, clock: "deterministic" });
		const first = await start("", ["", "bridge=lan"], [`${disk},raw,xvdb,rw`]);
		await first.login();
	}, LIMIT);

	afterAll(async () => {
		for (const domain of domains) await domain.destroy();
		host?.stop();
		rmSync(directory, { recursive: true });
	});

	it(
		"installs a package from the machine's mirror, through the NAT",
		async () => {
			const [shell] = shells as [GuestShell];
			// A mirror on the host's own loopback is the gateway's for the guest.
			await shell.output(
				"sed -i -E 's,//(localhost|127\\.0\\.0\\.1)([:/]),//10.0.2.2\\2,' /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/* ; true",
			);
			expect(await shell.run("command -v hello")).toMatchObject({ status: 1 });
			await shell.output("apt-get update -q=2 && apt-get install -y -q=2 --no-install-recommends hello");
			expect(await shell.output("hello")).toBe("Hello, world!");
			expect(await shell.output("dpkg -s hello | grep ^Status")).toBe("Status: install ok installed");
			expect(await shell.output("dpkg --verify hello")).toBe("");
		},
		LIMIT,
	);

	it(
		"finds on its disk what fio wrote at random",
		async () => {
			const [shell] = shells as [GuestShell];
			const report = JSON.parse(await shell.output(`${FIO} --end_fsync=1`)) as FioReport;
			expect(report.jobs.map(({ error, read, write }) => [error, read.io_bytes, write.io_bytes])).toEqual([
				[0, 24 * MIB, 24 * MIB],
			]);
		},
		LIMIT,
	);

	it.each(Object.entries(STRESSORS))(
		"computes what stress-ng verifies: %s",
		async (_, stressors) => {
			const [shell] = shells as [GuestShell];
			const { output, status } = await shell.run(`stress-ng --verify --oomable --timeout 60s ${stressors} 2>&1`);
			expect(output).toMatch(/successful run completed/);
			expect(output).not.toMatch(/fail/);
			expect(status).toBe(0);
		},
		LIMIT,
	);

	it(
		"passes data to another guest: iperf3",
		async () => {
			const [server] = shells as [GuestShell];
			await server.output("ip addr add 192.168.9.1/24 dev enX1; ip link set enX1 up; iperf3 -s -D");
			const client = await startShell(["bridge=lan"], []);
			await client.output("ip addr add 192.168.9.2/24 dev eth0; ip link set eth0 up");
			for (const direction of ["", "-R"]) {
				const report = JSON.parse(await client.output(`iperf3 -J -c 192.168.9.1 -n 48M ${direction}`)) as IperfReport;
				expect(report.end.sum_sent.bytes).toBeGreaterThanOrEqual(48 * MIB);
				// Its receiver stops counting when the sender says that it is through.
				expect(report.end.sum_received.bytes).toBeGreaterThan(40 * MIB);
			}
			const udp = JSON.parse(await client.output("iperf3 -J -u -b 100M -c 192.168.9.1 -n 4M")) as IperfReport;
			expect(udp).not.toHaveProperty("error");
		},
		LIMIT,
	);

	it(
		"leaves on the disk what another kernel finds there",
		async () => {
			const [first, second] = domains as [GuestDomain, GuestDomain];
			first.console.write("systemctl poweroff\n");
			expect(await first.ended).toMatchObject({ reason: "poweroff" });
			await first.destroy();
			await second.destroy();
			const shell = await startShell([], [`${disk},raw,xvdb,rw`]);
			const report = JSON.parse(await shell.output(`${FIO} --verify_only`)) as FioReport;
			expect(report.jobs.map(({ error, read }) => [error, read.io_bytes])).toEqual([[0, 24 * MIB]]);
			// And it would find a difference.
			await shell.output("printf x | dd of=/dev/xvdb bs=1 seek=7000000 conv=notrunc 2>/dev/null; sync");
			expect((await shell.run(`${FIO} --verify_only 2>&1`)).status).not.toBe(0);
		},
		LIMIT,
	);

	it("gives nobody a reason to complain", () => {
		expect(shells.flatMap(({ console }) => complaints(console))).toEqual([]);
		expect(hypervisorComplaints(host.log)).toEqual([]);
	});
});
