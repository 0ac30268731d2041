import { describe, expect, it } from "vitest";
import { compareVersions } from "../../../src/toolstack/grub/blscfg.ts";
import { GrubFiles } from "../../../src/toolstack/grub/files.ts";
import { readConfiguration } from "../../../src/toolstack/grub/index.ts";
import { readScriptMenu } from "../../../src/toolstack/grub/script-menu.ts";
import { imageOfXen, memoryFiles } from "./files.ts";
import { PRINTED, SCRIPT } from "./language.ts";

const FILE = "/disk/boot/grub/grub.cfg";

/** The shape of what grub-mkconfig writes, in our words. */
const CONFIGURATION = `
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "\${next_entry}" ] ; then
  set default="\${next_entry}"
  set next_entry=
  save_env next_entry
else
  set default="0"
fi
if [ x"\${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function load_video {
  insmod all_video
}
if loadfont unicode ; then
  set gfxmode=auto
  load_video
fi
terminal_output gfxterm
set timeout_style=menu
set timeout=5
set extra="quiet splash"
menuentry 'Linux' --class os --unrestricted $menuentry_id_option 'simple' {
	load_video
	insmod gzio
	if [ x$grub_platform = xxen ]; then insmod xzio; fi
	set root='hd0,gpt2'
	search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 0123-4567
	echo	'Loading Linux ...'
	linux	/boot/vmlinuz root=UUID=0123 ro \${extra} "two words"
	initrd	/boot/microcode.cpio /boot/initrd.img
}
submenu 'More' $menuentry_id_option 'more' {
	menuentry 'Recovery' $menuentry_id_option 'recovery' {
		linux (hd0,gpt2)/boot/vmlinuz single \${extra}
	}
	menuentry 'Xen' --class xen {
		if [ "$grub_platform" = "pc" ]; then
			options=
		else
			options="no-real-mode"
		fi
		multiboot2 /boot/xen.gz placeholder dom0_mem=700M,max:1G dom0_max_vcpus=2 loglvl=all iommu=off \${options}
		module2 /boot/vmlinuz placeholder root=/dev/xvda1 quiet
		module2 --nounzip /boot/initrd.img
		module2 /boot/policy
	}
	submenu 'Deeper' {
		menuentry Bottom { linux /boot/vmlinuz deep }
	}
}
menuentry 'Other system' { chainloader +1 }
menuentry "Asks $1" "for $2" { linux /boot/vmlinuz "$1" \${chosen} }
`;

const FILES = {
	[FILE]: CONFIGURATION,
	"/disk/boot/vmlinuz": "-> vmlinuz-6.1",
	"/disk/boot/vmlinuz-6.1": "kernel",
	"/disk/boot/initrd.img": "ramdisk",
	"/disk/boot/microcode.cpio": "microcode",
	"/disk/boot/policy": "policy",
	"/disk/boot/xen.gz": imageOfXen(),
};

const open = (text = CONFIGURATION, files: Record<string, string | Uint8Array> = {}, root?: string) =>
	readConfiguration(FILE, root, memoryFiles({ ...FILES, ...files, [FILE]: text }));

describe("GRUB's script language", () => {
	it("prints what GRUB prints", async () => {
		const printed: string[] = [];
		const files = new GrubFiles(memoryFiles({}), ["/"]);
		const warned: string[] = [];
		await readScriptMenu(SCRIPT, FILE, "/boot/grub/grub.cfg", files, {
			print: (text) => printed.push(text),
			warn: ({ reason }) => warned.push(reason),
		});
		expect([...new Set(warned)]).toEqual([
			'can\'t find command "frobnicate"',
			'source: there is no file "/boot/grub/none.cfg"',
			'set: "novalue" is no assignment',
			'menuentry "x" has no block',
			"source names no file",
			"search names nothing to look for",
			'search: unknown argument "--frob"',
			"regexp: two arguments are expected",
		]);
		expect(printed.join("\n").split("\n")).toEqual(PRINTED);
	});

	it.each([
		["an open quote", "\nset a='x\n\n", "2: the quote ' is not closed"],
		["an open block", "menuentry x {\n true\n", "3: the file ends too early: the block of line 1"],
		["an if without end", "if true; then\n true\n", "3: the file ends too early"],
		["a stray fi", "true\nfi\n", '2: "fi" is not expected here'],
		["a closing brace", "true\n}\n", '2: "}" is not expected here'],
		["a pipe", "true\necho a | cat\n", '2: "|" is not something'],
		["case", "\ncase x\n", '2: "case" is not supported'],
		["an unknown operator", "if [ a -nt b ]; then true; fi", '1: test: "-nt" is not supported'],
		["an endless loop", "while true; do true; done", "1: more than 10000 commands"],
		["endless recursion", "function f { f; }\nf\n", "without an end"],
		["sourcing itself", "source /boot/grub/grub.cfg\n", "without an end"],
	])("refuses %s, with the line", async (_, text, message) => {
		await expect(open(text)).rejects.toThrow(message);
		await expect(open(text)).rejects.toThrow(FILE);
	});

	it.each([
		["unknown words", "frobnicate --now", 'can\'t find command "frobnicate"'],
		["menu entries without a block", "menuentry x", 'menuentry "x" has no block'],
		["a missing source", "source /boot/none.cfg", 'source: there is no file "/boot/none.cfg"'],
		["a source on no disk", "source (http,host)/x", 'source: there is no file "(http,host)/x"'],
		["a counter that is none", "decrement nothing", 'decrement: "nothing" is no variable with a number'],
	])("goes on after %s, with one warning", async (_, line, reason) => {
		const configuration = await open(`set a=1\n${line}\n${line}\nmenuentry a { ${line}\n linux /boot/vmlinuz }\n`);
		expect(configuration.warnings).toEqual([`${FILE}:2: ${reason}; GRUB passes it over, and so do we`]);
		expect(await configuration.plan(undefined)).toMatchObject({ kernel: "/disk/boot/vmlinuz-6.1", notices: [] });
	});

	it("tells what an entry alone has", async () => {
		const { plan, warnings } = await open("menuentry a {\n frobnicate\n linux /boot/vmlinuz }\n");
		expect(warnings).toEqual([]);
		expect((await plan(undefined)).notices).toEqual([
			`${FILE}:2: can't find command "frobnicate"; GRUB passes it over, and so do we`,
		]);
	});

	it("refuses what is nested too deeply", async () => {
		await expect(open("if true; then ".repeat(200))).rejects.toThrow("too many statements");
	});

	it("never throws anything else, whatever the text is", async () => {
		const pieces = [
			"if ",
			"then ",
			"fi ",
			"{ ",
			"} ",
			"menuentry ",
			"'",
			'"',
			"$",
			// biome-ignore lint/suspicious/noTemplateCurlyInString: the language under test has it
			"${a}",
			"a ",
			"\\",
			"\n",
			"[ ",
			"] ",
			"; ",
		];
		let seed = 1;
		for (let round = 0; round < 500; round++) {
			let text = "";
			for (let index = 0; index < 12; index++) {
				seed = (seed * 1103515245 + 12345) % 2 ** 31;
				text += pieces[seed % pieces.length];
			}
			await open(text).catch((error: Error) =>
				expect(error.name, `${JSON.stringify(text)}: ${error.stack}`).toBe("GrubError"),
			);
		}
	});
});

describe("a grub.cfg", () => {
	it("is listed as a numbered tree", async () => {
		expect((await open()).list()).toBe(
			[
				"0  Linux (default)",
				"1  More (submenu)",
				"  1>0  Recovery",
				"  1>1  Xen",
				"  1>2  Deeper (submenu)",
				"    1>2>0  Bottom",
				"2  Other system",
				"3  Asks ",
				"",
			].join("\n"),
		);
	});

	it("boots its default entry with all of its ramdisks", async () => {
		const plan = await (await open()).plan(undefined);
		expect(plan).toMatchObject({
			number: "0",
			title: "Linux",
			kernel: "/disk/boot/vmlinuz-6.1",
			ramdisks: ["/disk/boot/microcode.cpio", "/disk/boot/initrd.img"],
			commandLine: 'BOOT_IMAGE=/boot/vmlinuz root=UUID=0123 ro quiet splash "two words"',
			notices: [],
		});
	});

	it.each([
		["1>0", "Recovery"],
		["Recovery", "Recovery"],
		["recovery", "Recovery"],
		["more>recovery", "Recovery"],
		["More>Deeper>Bottom", "Bottom"],
		["1>2>0", "Bottom"],
	])("finds the entry %s", async (wanted, title) => {
		expect(await (await open()).plan(wanted)).toMatchObject({ title });
	});

	it("gives a submenu only the exported variables", async () => {
		expect((await (await open()).plan("1>0")).commandLine).toBe("BOOT_IMAGE=(hd0,gpt2)/boot/vmlinuz single");
	});

	it("gives an entry its parameters and its number", async () => {
		expect((await (await open()).plan("3")).commandLine).toBe('BOOT_IMAGE=/boot/vmlinuz "Asks " 3');
	});

	it("takes the saved entry out of grubenv", async () => {
		const environment = `# GRUB Environment Block\nnext_entry=more>recovery\n${"#".repeat(900)}`;
		const { plan } = await open(undefined, { "/disk/boot/grub/grubenv": environment });
		expect(await plan(undefined)).toMatchObject({ title: "Recovery" });
	});

	it("boots the dom0 kernel of an entry that loads Xen", async () => {
		const plan = await (await open()).plan("Xen");
		expect(plan).toMatchObject({
			kernel: "/disk/boot/vmlinuz-6.1",
			ramdisks: ["/disk/boot/initrd.img"],
			commandLine: "root=/dev/xvda1 quiet",
			xen: { memory: { size: 700 * 2 ** 20, most: 2 ** 30 }, vcpus: { least: 2, most: 2 } },
		});
		expect(plan.xen?.log).toEqual({ host: "debug", guest: "warning" });
		expect(plan.notices).toEqual([
			expect.stringContaining("unprivileged guest"),
			"options of Xen that do not apply here: iommu=off",
			"a further module of Xen's is not used: /boot/policy",
		]);
	});

	it.each([
		["a submenu", "More", 'entry 1, "More", is a submenu'],
		["nothing", "17", 'there is no entry "17"'],
		["another system", "2", "chainloader starts another boot loader"],
	])("refuses an entry that is %s", async (_, wanted, message) => {
		const { plan } = await open();
		await expect(plan(wanted)).rejects.toThrow(message);
	});

	it("refuses a title that several entries have, with their numbers and lines", async () => {
		const { plan } = await open(
			"menuentry a { linux /boot/vmlinuz }\nsubmenu b {\nmenuentry a { linux /boot/vmlinuz }\n}\n",
		);
		await expect(plan("a")).rejects.toThrow('"a" is the name of several entries: 0 (line 1), 1>0 (line 3)');
	});

	it("names what an entry needs and is not there, with its line", async () => {
		const { plan } = await open("menuentry a {\n linux /boot/vmlinuz\n initrd /boot/none.img\n}\n");
		await expect(plan(undefined)).rejects.toThrow(`${FILE}:3: "/boot/none.img" is not there`);
	});

	it("refuses a multiboot kernel that is not Xen", async () => {
		const { plan } = await open("menuentry a {\n multiboot /boot/initrd.img\n module /boot/vmlinuz\n}\n");
		await expect(plan(undefined)).rejects.toThrow(
			':2: "/boot/initrd.img" is a multiboot kernel that is neither Xen nor tboot',
		);
	});

	it("looks for files in a /boot of its own as well, and says where it cannot tell", async () => {
		const text = "menuentry a {\n linux /vmlinuz-6.1\n}\n";
		expect(await (await open(text)).plan(undefined)).toMatchObject({ kernel: "/disk/boot/vmlinuz-6.1" });
		const two = { "/disk/vmlinuz-6.1": "another" };
		await expect((await open(text, two)).plan(undefined)).rejects.toThrow(
			':2: "/vmlinuz-6.1" may be /disk/vmlinuz-6.1 and',
		);
		expect(await (await open(text, two, "/disk/boot")).plan(undefined)).toMatchObject({
			kernel: "/disk/boot/vmlinuz-6.1",
		});
	});

	it("follows links within the folder, never out of it", async () => {
		const text = "menuentry a {\n linux /vmlinuz\n}\n";
		const links = { "/disk/vmlinuz": "-> /boot/vmlinuz", "/disk/loop": "-> loop", "/disk/up": "-> ../../boot/vmlinuz" };
		expect(await (await open(text, links)).plan(undefined)).toMatchObject({ kernel: "/disk/boot/vmlinuz-6.1" });
		const up = "menuentry a {\n linux /../../up\n}\n";
		expect(await (await open(up, links, "/disk")).plan(undefined)).toMatchObject({ kernel: "/disk/boot/vmlinuz-6.1" });
		const loop = "menuentry a {\n linux /loop\n}\n";
		await expect((await open(loop, links)).plan(undefined)).rejects.toThrow("is not there");
	});
});

describe("entries that are files of their own", () => {
	const entry = (version: string, title = `Fedora (${version})`): string =>
		`# comment\ntitle ${title}\nversion ${version}\nlinux /vmlinuz-${version}\ninitrd /initrd.img $tuned_initrd\n` +
		"options root=/dev/vda1 ro $kernelopts\noptions quiet\ngrub_users $grub_users\n";
	const files = {
		"/disk/boot/loader/entries/abc-6.9.1-1.fc40.conf": entry("6.9.1"),
		"/disk/boot/loader/entries/abc-6.10.2-1.fc40.conf": entry("6.10.2"),
		"/disk/boot/loader/entries/abc-0-rescue.conf": entry("0-rescue", "Rescue"),
		"/disk/boot/loader/entries/README": "not an entry",
		"/disk/boot/vmlinuz-6.10.2": "kernel",
	};
	const text = 'set kernelopts="console=tty0 audit=0"\nset default=1\ninsmod blscfg\nblscfg\n';

	it("are listed, the newest first, and booted with GRUB's variables", async () => {
		const configuration = await open(text, files);
		expect(configuration.list()).toBe("0  Fedora (6.10.2)\n1  Fedora (6.9.1) (default)\n2  Rescue\n");
		expect(await configuration.plan("abc-6.10.2-1.fc40")).toMatchObject({
			kernel: "/disk/boot/vmlinuz-6.10.2",
			ramdisks: ["/disk/boot/initrd.img"],
			commandLine: "BOOT_IMAGE=/vmlinuz-6.10.2 root=/dev/vda1 ro console=tty0 audit=0 quiet",
		});
	});

	it("are missed, and refused without a kernel", async () => {
		await expect(open(text)).rejects.toThrow(`${FILE}:4: blscfg finds no directory /disk/boot/loader/entries or`);
		const broken = { "/disk/boot/loader/entries/x.conf": "title x\n" };
		await expect(open(text, broken)).rejects.toThrow("entries/x.conf: the entry names no kernel");
	});

	it.each([
		["6.10.2", "6.9.1"],
		["6.1-2", "6.1"],
		["6.1", "6.1~rc3"],
		["6.1a", "6.1"],
		["6.1.1", "6.1.a"],
	])("version %s is above %s", (newer, older) => {
		expect(compareVersions(newer, older)).toBeGreaterThan(0);
		expect(compareVersions(older, newer)).toBeLessThan(0);
		expect(compareVersions(newer, newer)).toBe(0);
	});
});
