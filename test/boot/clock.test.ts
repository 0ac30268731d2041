/** A stock kernel's time of day is the host's, though the first second of its life is slow. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { Host } from "../../src/index.ts";
import { GuestShell } from "./shell.ts";

const MIB = 2 ** 20;
/**
 * What it may be behind, as a share of the time that it took to boot: what passes between its look at the clock and its first tick, and what the last
 * tick before it takes the Xen clock is late by. Both grow with how busy the machine is, as the boot does. Without the ticks that are made up for
 * it was 13 to 28 %.
 */
const SHARE = 0.08;

it("is in time with the host after its boot", async () => {
	const guest = await debianGuest({});
	const host = new Host({ memory: 160 * MIB });
	const start = Date.now();
	let shell: GuestShell | undefined;
	await host.createDomain(
		{
			kernel: readFileSync(guest.kernel),
			ramdisk: await guestInitramfs(guest, {}),
			commandLine: "console=hvc0 paravirt.input=pipe",
			memory: 128 * MIB,
		},
		(created) => {
			shell = new GuestShell(created);
		},
	);
	try {
		// The first command waits for the shell.
		await shell!.output("true");
		const before = Date.now();
		const said = await shell!.output("touch /tmp/now; stat -c %y /tmp/now");
		const after = Date.now();
		const [, day, time] = /^(\S+) (\d+:\d+:\d+\.\d{3})\d* \+0000/m.exec(said)!;
		const guestTime = Date.parse(`${day}T${time}Z`);
		expect(guestTime).toBeGreaterThan(before - (before - start) * SHARE);
		expect(guestTime).toBeLessThanOrEqual(after);
	} finally {
		host.stop();
	}
}, 300_000);
