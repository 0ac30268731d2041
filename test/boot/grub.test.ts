/** `paravirt boot --grub`: the command with a configuration, Debian's kernel, and an entry that loads Xen. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { type Outcome, runParavirt } from "../cli/program.ts";
import { imageOfXen } from "../toolstack/grub/files.ts";
import { complaints } from "./guest.ts";

const CONFIGURATION = `set default=dom0
menuentry Linux { linux /vmlinuz; initrd /initrd.img }
menuentry "Linux on Xen" --id dom0 {
	search --no-floppy --fs-uuid --set=root 0123-4567
	multiboot2 /xen.gz placeholder dom0_mem=200M dom0_max_vcpus=2 guest_loglvl=all iommu=off
	module2 /vmlinuz placeholder quiet paravirt.input=pipe paravirt.hostname=dom0
	module2 --nounzip /initrd.img
}
menuentry Missing { linux /none }
`;

async function boot(input: string, ...args: string[]): Promise<Outcome> {
	const outcome = await runParavirt(["boot", ...args], { input });
	return { ...outcome, stdout: outcome.stdout.replaceAll("\r\n", "\n") };
}

describe("paravirt boot --grub", () => {
	let directory = "";
	let file = "";
	beforeAll(async () => {
		const guest = await debianGuest();
		directory = mkdtempSync(join(tmpdir(), "paravirt-grub-"));
		mkdirSync(join(directory, "boot/grub"), { recursive: true });
		writeFileSync(join(directory, "boot/xen.gz"), imageOfXen());
		writeFileSync(join(directory, "boot/initrd.img"), await guestInitramfs(guest));
		copyFileSync(guest.kernel, join(directory, "boot/vmlinuz-debian"));
		symlinkSync("boot/vmlinuz-debian", join(directory, "vmlinuz"));
		file = join(directory, "boot/grub/grub.cfg");
		writeFileSync(file, CONFIGURATION);
	}, 600_000);
	afterAll(() => rmSync(directory, { recursive: true }));

	it("boots the dom0 kernel of the default entry with what Xen's options say", async () => {
		const commands =
			"hostname; nproc; cat /proc/cmdline; awk '/MemTotal/ { print ($2 > 150000 && $2 < 204800) }' /proc/meminfo\n";
		const { status, stdout, stderr } = await boot(`${commands}poweroff -f\n`, "--grub", file);
		expect(stdout).toContain("dom0\n2\nconsole=hvc0 quiet paravirt.input=pipe paravirt.hostname=dom0\n1\n");
		expect(complaints(stdout)).toEqual([]);
		expect(status).toBe(0);
		expect(stderr).toContain("paravirt: entry 1: Linux on Xen\n");
		expect(stderr).toContain("is booted as an unprivileged guest");
		expect(stderr).toContain("options of Xen that do not apply here: iommu=off\n");
		// A line that the guest has the hypervisor log.
		expect(stderr).toMatch(/^\(XEN\) \(d1\) /m);
	});

	it("lists entries", async () => {
		const { status, stdout } = await boot("", "--grub", file, "--list");
		expect({ status, stdout }).toEqual({ status: 0, stdout: "0  Linux\n1  Linux on Xen (default)\n2  Missing\n" });
	});

	it.each([
		["an entry that is not there", 1, ["--entry", "7"], 'there is no entry "7"'],
		["an entry whose kernel is not there", 1, ["--entry", "Missing"], ':9: "/none" is not there'],
		["a kernel beside it", 2, ["--ramdisk", "x"], "--grub says which kernel and ramdisk are booted"],
	])("refuses %s", async (_, expected, args, message) => {
		const { status, stderr } = await boot("", "--grub", file, ...args);
		expect(stderr).toContain(message);
		expect(status).toBe(expected);
	});
});
