/** Configurations of the shape that distributions write, in our words: what they ask of GRUB beyond its language. */
import { describe, expect, it } from "vitest";
import { FileType, writeArchive } from "../../../src/formats/cpio.ts";
import { readConfiguration } from "../../../src/toolstack/grub/index.ts";
import { imageOfTboot, imageOfXen, memoryFiles } from "./files.ts";

const words = (...values: readonly number[]): Uint8Array => new Uint8Array(new Uint32Array(values).buffer);
const file = (path: string, size: number) => ({
	path,
	type: FileType.regular,
	permissions: 0o644,
	data: new Uint8Array(size).fill(1),
});
const directory = (path: string) => ({ path, type: FileType.directory, permissions: 0o755, data: new Uint8Array(0) });
const MICROCODE = [
	directory("kernel"),
	directory("kernel/x86"),
	directory("kernel/x86/microcode"),
	file("kernel/x86/microcode/GenuineIntel.bin", 101),
];

/** Below /disk/boot. */
const FILES: Readonly<Record<string, string | Uint8Array>> = {
	vmlinuz: "kernel",
	"initrd.img": "ramdisk",
	"xen.gz": imageOfXen(),
	"tboot.gz": imageOfTboot(),
	"ucode.bin": "microcode",
	"ucode.cpio": writeArchive([file("early_cpio", 2), ...MICROCODE]),
	"both.cpio": writeArchive([...MICROCODE, file("init", 7)]),
	policy: words(0xf97cff8c, 8),
	// Type, length of the header, version, ..., vendor.
	"sinit.bin": words(2, 161, 0x30000, 0, 0x8086),
	"lcp.data": "Intel(R) TXT LCP_POLICY_DATA\0\0\0\0",
};

async function plan(text: string, more: Readonly<Record<string, string>> = {}, entry?: string) {
	const below = Object.entries(FILES).map(([name, data]): [string, string | Uint8Array] => [
		`/disk/boot/${name}`,
		data,
	]);
	const path = "/disk/boot/grub2/grub.cfg";
	const configuration = await readConfiguration(
		path,
		undefined,
		memoryFiles({ ...Object.fromEntries(below), ...more, [path]: text }),
	);
	return { ...(await configuration.plan(entry)), warnings: configuration.warnings };
}

const ENTRIES = "menuentry new { linux /vmlinuz new }\nmenuentry old { linux /vmlinuz old }\n";

describe("Fedora's configuration", () => {
	const COUNTER = `
if [ -f \${config_directory}/grubenv ]; then
  load_env -f \${config_directory}/grubenv
fi
insmod increment
if [ -n "\${boot_counter}" -a "\${boot_success}" = "0" ]; then
  if [ "\${boot_counter}" = "0" -o "\${boot_counter}" = "-1" ]; then
    set default=1
    set boot_counter=-1
  else
    decrement boot_counter
  fi
  save_env boot_counter
fi
if [ "$grub_platform" = "efi" ]; then
  fwsetup --is-supported
fi
${ENTRIES}menuentry left { linux /vmlinuz left=$boot_counter }
`;
	it.each([
		["2", "new", "1"],
		["0", "old", "-1"],
	])("with a counter of boots of %s boots the %s kernel", async (counter, kernel, left) => {
		const grubenv = { "/disk/boot/grub2/grubenv": `boot_counter=${counter}\nboot_success=0\n` };
		const found = await plan(COUNTER, grubenv);
		expect(found).toMatchObject({ title: kernel, warnings: [], notices: [] });
		expect((await plan(COUNTER, grubenv, "left")).commandLine).toBe(`BOOT_IMAGE=/vmlinuz left=${left}`);
	});
});

describe("openSUSE's configuration", () => {
	it("mounts subvolumes, and boots", async () => {
		const text = `
btrfs-mount-subvol ($root) /boot/grub2/x86_64-efi /@/boot/grub2/x86_64-efi
if [ -f "/.snapshots/grub-snapshot.cfg" ]; then
  source "/.snapshots/grub-snapshot.cfg"
fi
health_checker --flags
${ENTRIES}`;
		const found = await plan(text);
		expect(found).toMatchObject({ title: "new", commandLine: "BOOT_IMAGE=/vmlinuz new", notices: [] });
		expect(found.warnings).toEqual([expect.stringContaining('grub.cfg:6: can\'t find command "health_checker"')]);
	});
});

describe("entries with tboot", () => {
	it("of Qubes' anti-evil-maid boot the dom0 kernel of Xen, the first module", async () => {
		const found = await plan(`menuentry 'AEM Qubes' --class qubes {
	multiboot /tboot.gz placeholder logging=memory,serial min_ram=0x2000000
	module /xen.gz placeholder console=none dom0_mem=min:1024M dom0_mem=max:4096M iommu=no-igfx ucode=scan
	module /vmlinuz placeholder root=/dev/mapper/qubes rhgb quiet
	module --nounzip /initrd.img
	module /sinit.bin
	module /lcp.data
}
`);
		expect(found).toMatchObject({
			kernel: "/disk/boot/vmlinuz",
			ramdisks: ["/disk/boot/initrd.img"],
			commandLine: "root=/dev/mapper/qubes rhgb quiet",
			xen: { memory: { least: 2 ** 30, most: 2 ** 32 } },
		});
		expect(found.notices).toEqual([
			"the entry loads tboot (/tboot.gz): nothing is measured here, and its first module is what is booted",
			expect.stringContaining("the entry loads Xen (/xen.gz)"),
			"options of Xen that do not apply here: iommu=no-igfx",
		]);
	});

	it("of Debian's tboot boot Linux, the first module", async () => {
		const text = `submenu "tboot 1.10" {
menuentry 'with tboot'{
	multiboot2	/tboot.gz logging=serial,memory,vga
	module2 /vmlinuz root=/dev/sda1 ro quiet intel_iommu=on
	module2 /sinit.bin
	module2 /initrd.img
}
}
`;
		expect(await plan(text, {}, "with tboot")).toMatchObject({
			kernel: "/disk/boot/vmlinuz",
			ramdisks: ["/disk/boot/initrd.img"],
			commandLine: "root=/dev/sda1 ro quiet intel_iommu=on",
			xen: undefined,
		});
	});

	it("need a module", async () => {
		await expect(plan("menuentry a {\n multiboot /tboot.gz\n}\n")).rejects.toThrow(
			":2: tboot is loaded without a module",
		);
	});

	it("of TrenchBoot launch Xen", async () => {
		const found = await plan(`menuentry a {
	slaunch
	slaunch_module ($root)/sinit.bin
	multiboot2 /xen.gz placeholder
	module2 /vmlinuz placeholder
	module2 /initrd.img
}
`);
		expect(found).toMatchObject({ ramdisks: ["/disk/boot/initrd.img"], warnings: [] });
	});
});

describe("of Xen's modules", () => {
	/** Modules after the kernel. */
	const booted = async (options: string, ...modules: readonly string[]) => {
		const lines = ["vmlinuz", ...modules].map((name) => `module2 /${name}\n`).join("");
		const { ramdisks, notices } = await plan(`menuentry a {\nmultiboot2 /xen.gz ${options}\n${lines}}\n`);
		return [ramdisks.map((path) => path.split("/").at(-1)).join(" "), ...notices.slice(1)];
	};

	it.each([
		["", ["initrd.img"], "initrd.img"],
		["", [], ""],
		["ucode=1", ["ucode.bin", "initrd.img"], "initrd.img"],
		["ucode=2", ["initrd.img", "ucode.bin"], "initrd.img"],
		["ucode=-1", ["initrd.img", "ucode.bin"], "initrd.img"],
		["ucode=-2", ["ucode.bin", "initrd.img"], "initrd.img"],
		["ucode=nmi,-2", ["ucode.bin", "initrd.img"], "initrd.img"],
		["ucode=1 ucode=2", ["initrd.img", "ucode.bin"], "initrd.img"],
		// None of these is a module that can be one: the kernel itself, and what is not there.
		["ucode=0", ["initrd.img"], "initrd.img"],
		["ucode=-2", ["initrd.img"], "initrd.img"],
		["ucode=7", ["initrd.img"], "initrd.img"],
		["ucode=-7", ["initrd.img"], "initrd.img"],
		["ucode=scan", ["ucode.cpio", "initrd.img"], "initrd.img"],
		["ucode=scan", ["initrd.img", "ucode.cpio"], "initrd.img"],
		["ucode=scan", ["both.cpio", "initrd.img"], "both.cpio"],
		["", ["policy", "initrd.img"], "initrd.img"],
		["", ["policy"], ""],
		["ucode=2", ["policy", "ucode.bin", "initrd.img"], "initrd.img"],
		["flask=enforcing", ["initrd.img", "policy"], "initrd.img"],
		["", ["initrd.img", "ucode.bin"], "initrd.img"],
	])('with "%s" and %j the ramdisk is %s', async (options, modules, ramdisk) => {
		expect((await booted(options, ...modules))[0]).toBe(ramdisk);
	});

	it("those that are not used are told of by what they are", async () => {
		expect(await booted("ucode=1", "ucode.bin", "policy", "initrd.img", "both.cpio")).toEqual([
			"initrd.img",
			"the processor's microcode is not used: /ucode.bin",
			"the XSM policy is not used: /policy",
			"a further module of Xen's is not used: /both.cpio",
		]);
	});
});
