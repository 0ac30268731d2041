/** Several guests with Debian's kernel at once, each with a disk and a network interface, twice: nothing is left of them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { type GuestDomain, Host, type MachineUse } from "../../src/index.ts";
import { complaints, hypervisorComplaints } from "./guest.ts";
import { GuestShell } from "./shell.ts";

const MIB = 2 ** 20;
const ROUNDS = 2;
/** How each of them ends: what it is told, and the reason. */
const ENDS = [
	["poweroff -f\n", "poweroff"],
	["echo c >/proc/sysrq-trigger\n", "crash"],
	["while :; do dd if=/dev/zero of=/dev/xvda bs=64k count=16 oflag=direct; done\n", "destroyed"],
] as const;

const folder = mkdtempSync(join(tmpdir(), "paravirt-many-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Uses what a guest has: blocks through its disk to the host's file, packets to the gateway. */
async function work(shell: GuestShell, name: string): Promise<void> {
	await shell.output(`echo ${name} | dd of=/dev/xvda bs=512 seek=9 conv=sync,notrunc oflag=direct`);
	expect(await shell.output("ping -c 1 10.0.2.2")).toContain("1 packets received");
	expect(readFileSync(join(folder, `${name}.img`)).toString("latin1", 9 * 512, 9 * 512 + name.length)).toBe(name);
}

/**
 * With a folder each (tag=data), the third or the second guest of the second round waits for ever in its mount: its front end of the share has gone to
 * Closed right after it was loaded. Not understood yet.
 */
it.todo("leaves nothing of guests with folders that ran at once");

it("leaves nothing of guests that ran at once, however each ended", async () => {
	const guest = await debianGuest({});
	const images = { kernel: readFileSync(guest.kernel), ramdisk: await guestInitramfs(guest, {}) };
	const host = new Host({ memory: (ENDS.length * 128 + 32) * MIB, clock: "deterministic" });
	const left: { use: MachineUse; files: number }[] = [];
	for (let round = 0; round < ROUNDS; round++) {
		const domains: GuestDomain[] = [];
		const shells: GuestShell[] = [];
		for (const [index] of ENDS.entries()) {
			const name = `g${index}`;
			writeFileSync(join(folder, `${name}.img`), new Uint8Array(MIB));
			const domain = await host.createDomain(
				{
					...{ ...images, name, memory: 128 * MIB, networks: [""] },
					commandLine: "console=hvc0 paravirt.input=pipe",
					disks: [`${join(folder, `${name}.img`)},raw,xvda,rw`],
				},
				(created) => {
					shells.push(new GuestShell(created));
				},
			);
			domains.push(domain);
		}
		await Promise.race([
			host.failed,
			Promise.all(
				shells.map(async (shell, index) => {
					await shell.ready();
					await shell.output("until [ -e /dev/xvda ]; do sleep 0.1; done");
					await work(shell, `g${index}`);
				}),
			),
		]);
		expect(host.use()).toMatchObject({ domains: ENDS.length + 1, devices: 2 * ENDS.length });
		const ends = domains.map(async (domain, index) => {
			const [command, reason] = ENDS[index] as (typeof ENDS)[number];
			domain.console.write(command);
			// Taken away while it writes.
			if (reason === "destroyed") setTimeout(() => domain.destroy(), 500);
			expect((await domain.ended).reason).toBe(reason);
		});
		await Promise.race([Promise.all(ends), host.failed]);
		await Promise.all(domains.map((domain) => domain.destroy()));
		left.push({ use: host.use(), files: readdirSync("/proc/self/fd").length });
		for (const [index, shell] of shells.entries()) {
			if (ENDS[index]?.[1] !== "crash") expect(complaints(shell.console)).toEqual([]);
		}
	}
	expect(left[0]?.use).toMatchObject({ domains: 1, contexts: 0, grantsInUse: 0, devices: 0, connections: 0 });
	expect(left[1]).toEqual(left[0]);
	expect(hypervisorComplaints(host.log)).toEqual(
		Array(ROUNDS).fill(
			expect.stringMatching(/^\(XEN\) d\d+ crashed: SCHEDOP_shutdown: the guest says that it crashed$/),
		),
	);
	host.stop();
}, 900_000);
