import { describe, expect, it } from "vitest";
import { readConfiguration } from "../../../src/toolstack/grub/index.ts";
import { imageOfXen, memoryFiles } from "./files.ts";

const FILE = "/disk/boot/grub/grub.conf";
const CONFIGURATION = `# comment
default=1
timeout=5
splashimage=(hd0,0)/grub/splash.xpm.gz
hiddenmenu
title Linux (2.6.32)
	root (hd0,0)
	kernel /vmlinuz-2.6.32 ro root=/dev/vg00/lv01  quiet
	initrd /initrd-2.6.32.img
	savedefault
title pv_ops dom0 with serial console
root (hd0,0)
kernel /xen-4.0.gz dom0_mem=1024M loglvl=all guest_loglvl=all sync_console console_to_ring com1=115200,8n1 console=com1
module /vmlinuz-2.6.32 ro root=/dev/vg00/lv01 console=hvc0 earlyprintk=xen
module /initrd-2.6.32.img
title Other
	rootnoverify (hd0,1)
	chainloader +1
title Old
	kernel (hd0,0)/vmlinuz-2.6.32 dummy
`;

const open = (text = CONFIGURATION) =>
	readConfiguration(
		FILE,
		undefined,
		memoryFiles({
			[FILE]: text,
			"/disk/boot/vmlinuz-2.6.32": "kernel",
			"/disk/boot/initrd-2.6.32.img": "ramdisk",
			"/disk/boot/xen-4.0.gz": imageOfXen(),
		}),
	);

describe("GRUB Legacy's configuration", () => {
	it("is listed", async () => {
		const list = "0  Linux (2.6.32)\n1  pv_ops dom0 with serial console (default)\n2  Other\n3  Old\n";
		expect((await open()).list()).toBe(list);
	});

	it("boots Linux", async () => {
		expect(await (await open()).plan("0")).toMatchObject({
			kernel: "/disk/boot/vmlinuz-2.6.32",
			ramdisks: ["/disk/boot/initrd-2.6.32.img"],
			commandLine: "ro root=/dev/vg00/lv01 quiet",
		});
	});

	it("boots the dom0 kernel where Xen is loaded", async () => {
		const plan = await (await open()).plan(undefined);
		expect(plan).toMatchObject({
			kernel: "/disk/boot/vmlinuz-2.6.32",
			ramdisks: ["/disk/boot/initrd-2.6.32.img"],
			commandLine: "ro root=/dev/vg00/lv01 console=hvc0 earlyprintk=xen",
			xen: { memory: { size: 2 ** 30 }, log: { host: "debug", guest: "debug" } },
		});
		expect(plan.notices).toContain("options of Xen that do not apply here: console_to_ring com1=115200,8n1");
	});

	it.each([
		["another boot loader", "2", ":18: chainloader starts another boot loader"],
		["nothing that is there", "9", 'there is no entry "9"'],
	])("refuses an entry that is %s", async (_, wanted, message) => {
		const { plan } = await open();
		await expect(plan(wanted)).rejects.toThrow(message);
	});

	it.each([
		["in an entry", "title a\n frobnicate\n kernel /vmlinuz-2.6.32\n", '2: "frobnicate" is no command'],
		["without a kernel", "title a\n root (hd0,0)\n", '1: the entry "a" loads no kernel'],
		["without a file", "title a\n kernel --type=linux\n", "2: kernel names no file"],
	])("names what is not known %s", async (_, text, message) => {
		await expect(open(text).then(({ plan }) => plan(undefined))).rejects.toThrow(message);
	});

	it("skips what is not known before the first title, with a warning", async () => {
		const configuration = await open("frobnicate\nfrobnicate\ntitle a\n kernel /vmlinuz-2.6.32\n");
		expect(configuration.warnings).toEqual([
			`${FILE}:1: "frobnicate" is no command that paravirt knows; GRUB passes it over, and so do we`,
		]);
		expect(await configuration.plan(undefined)).toMatchObject({ kernel: "/disk/boot/vmlinuz-2.6.32" });
	});
});
