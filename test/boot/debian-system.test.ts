/**
 * A whole Debian system, from the guest's own boot loader to its shutdown: PV-GRUB reads a kernel from the guest's second disk, systemd
 * starts from a copy-on-write overlay on the first, root logs in on the console and works, and both file systems are whole afterwards.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { type DomainEnd, Host } from "../../src/index.ts";
import { debianImage, hasImageTools } from "./debian-image.ts";
import { hasGrub, MODULES } from "./grub-image.ts";
import { complaints, hypervisorComplaints } from "./guest.ts";

const MIB = 2 ** 20;
/** Milliseconds of the host's time for the boot: two minutes of processor time, on a busy machine. */
const LIMIT = 1_500_000;
const COMMAND_LINE = "console=hvc0 root=/dev/xvda rw quiet systemd.show_status=0";

/** Each command's output stands between marks that only the shell can have made. */
const COMMANDS: Readonly<Record<string, string>> = {
	running: "systemctl is-system-running --wait",
	failed: "systemctl --failed --no-legend --plain --no-pager",
	"kernel command line": "cat /proc/cmdline",
	root: "findmnt -n -o SOURCE,FSTYPE /",
	bus: "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.DBus.Peer Ping && echo answered",
	// The image has no modules: they are the kernel's from outside.
	journal: "journalctl -b -p err -q --no-pager | grep -v 'Failed to find module'",
	"package files": "dpkg --verify libc6 systemd dpkg | grep -v ' /usr/share/\\| c ' ; echo verified",
	perl: 'perl -MDigest::SHA=sha256_hex -e \'print sha256_hex(join ",", map { $_ ** 2 } 1 .. 1000), "\\n"\'',
	signature: "gpgv --keyring /usr/share/keyrings/debian-archive-keyring.gpg /nonexistent 2>&1 | head -c 4; echo",
	apt: "apt-get -s -q=2 install dpkg && echo simulated",
	writing: "seq 1 200000 >/root/numbers && sync && echo 3 >/proc/sys/vm/drop_caches && md5sum </root/numbers",
	installing: [
		"mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin && printf 'Package: greeting\\nVersion: 1\\nArchitecture: all\\nMaintainer: A <a@b.c>\\nDescription: x\\n' >/tmp/p/DEBIAN/control",
		"printf '#!/bin/sh\\necho hello from a package\\n' >/tmp/p/usr/bin/greeting && chmod 755 /tmp/p/usr/bin/greeting",
		"dpkg-deb -b /tmp/p /tmp/greeting.deb >/dev/null && dpkg -i /tmp/greeting.deb >/dev/null 2>&1; greeting",
	].join("\n"),
};

describe.runIf(hasGrub && hasImageTools)("a Debian system", () => {
	let directory = "";
	let base = "";
	let baseHash = "";
	let end: DomainEnd | undefined;
	let console = "";
	let log = "";
	const answers = new Map<string, string>();

	beforeAll(async () => {
		directory = mkdtempSync(join(tmpdir(), "paravirt-debian-"));
		base = await debianImage();
		baseHash = hashOf(base);
		execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, join(directory, "root.qcow2")]);
		await makeBootDisk(directory);
		await run();
	}, 1_800_000);
	afterAll(() => rmSync(directory, { recursive: true }));

	async function run(): Promise<void> {
		const host = new Host({ memory: 520 * MIB, clock: "deterministic" });
		const lines = Object.entries(COMMANDS).map(([name, command]) => `echo "<"'<${name}'\n${command}\necho ">"'>'\n`);
		// Each is typed when what comes before it is on the console.
		const steps: [string, string][] = [
			["login: ", "root\n"],
			["# ", "stty -echo; PS1= PS2= exec bash --norc --noediting\necho rea''dy\n"],
			["ready\r\n", lines.join("")],
			["hello from a package\r\n>>", "systemctl poweroff\n"],
		];
		let seen = 0;
		const domain = await host.createDomain(
			{
				kernel: join(directory, "grub.bin"),
				memory: 480 * MIB,
				disks: [`${join(directory, "root.qcow2")},qcow2,xvda,rw`, `${join(directory, "boot.img")},raw,xvdb,ro`],
			},
			(created) => {
				created.console.onOutput((data) => {
					console += new TextDecoder().decode(data);
					const [step] = steps;
					const at = step === undefined ? -1 : console.indexOf(step[0], seen);
					if (step === undefined || at < 0) return;
					seen = at + step[0].length;
					steps.shift();
					created.console.write(step[1]);
				});
			},
		);
		const limit = setTimeout(() => void domain.destroy(), LIMIT);
		end = await Promise.race([domain.ended, host.failed]);
		clearTimeout(limit);
		({ log } = host);
		await domain.destroy();
		host.stop();
		const text = console.replaceAll("\r", "");
		for (const [, name = "", output = ""] of text.matchAll(/^<<(.*)\n([\s\S]*?)^>>$/gm)) answers.set(name, output);
	}

	it("is started by GRUB, which runs as the guest and reads the guest's own disk", () => {
		expect(console).toContain("Welcome to GRUB!");
		expect(answers.get("kernel command line"), console.slice(-4000)).toBe(`${COMMAND_LINE}\n`);
	});

	it.each([
		["running", "running\n"],
		["failed", ""],
		["root", "/dev/xvda ext4\n"],
		["bus", "answered\n"],
		["journal", ""],
		["package files", "verified\n"],
		["perl", `${sha256(Array.from({ length: 1000 }, (_, index) => (index + 1) ** 2).join(","))}\n`],
		["signature", "gpgv\n"],
		["apt", "simulated\n"],
		["writing", `${md5(`${Array.from({ length: 200_000 }, (_, index) => index + 1).join("\n")}\n`)}  -\n`],
		["installing", "hello from a package\n"],
	])("works: %s", (name, expected) => {
		expect(answers.get(name)).toBe(expected);
	});

	it("powers off, and nothing complained", () => {
		expect(end).toMatchObject({ reason: "poweroff" });
		expect(complaints(console)).toEqual([]);
		expect(hypervisorComplaints(log)).toEqual([]);
	});

	it("leaves its file system whole and what it wrote in it, and the image below untouched", () => {
		const raw = join(directory, "root.raw");
		execFileSync("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", join(directory, "root.qcow2"), raw]);
		execFileSync("e2fsck", ["-fn", raw], { env: { ...process.env, PATH: `${PATH}:/usr/sbin:/sbin` } });
		const numbers = execFileSync("debugfs", ["-R", "cat /root/numbers", raw], {
			env: { ...process.env, PATH: `${PATH}:/usr/sbin:/sbin` },
			maxBuffer: 16 * MIB,
		});
		expect(numbers.toString().split("\n").length).toBe(200_001);
		expect(hashOf(base)).toBe(baseHash);
	});
});

const { PATH = "" } = process.env;

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const md5 = (text: string): string => createHash("md5").update(text).digest("hex");
const hashOf = (file: string): string => execFileSync("sha256sum", [file]).toString().split(" ")[0] as string;

/** boot.img: a file system with a kernel, our initramfs, and GRUB's configuration; grub.bin: GRUB, which looks for that. */
async function makeBootDisk(directory: string): Promise<void> {
	const tree = join(directory, "boot");
	mkdirSync(join(tree, "boot/grub"), { recursive: true });
	const guest = await debianGuest();
	copyFileSync(guest.kernel, join(tree, "vmlinuz"));
	writeFileSync(join(tree, "initrd.img"), await guestInitramfs(guest));
	writeFileSync(
		join(tree, "boot/grub/grub.cfg"),
		`set timeout=0\nmenuentry Debian {\n\tlinux /vmlinuz ${COMMAND_LINE}\n\tinitrd /initrd.img\n}\n`,
	);
	execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", tree, join(directory, "boot.img"), "64M"], {
		env: { ...process.env, PATH: `${PATH}:/usr/sbin:/sbin` },
	});
	const embedded = join(directory, "embedded.cfg");
	writeFileSync(embedded, "search --set=root --file /vmlinuz\nconfigfile ($root)/boot/grub/grub.cfg\n");
	execFileSync("grub-mkstandalone", [
		...["-O", "x86_64-xen", "-o", join(directory, "grub.bin"), "--themes=", "--locales=", "--fonts="],
		...[`--install-modules=${MODULES}`, `--modules=${MODULES}`, `boot/grub/grub.cfg=${embedded}`],
	]);
}
