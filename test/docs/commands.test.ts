/**
 * What README.md and docs/ say that one can type, typed: in a folder with the files that it names, with nothing on standard input, so that
 * a shell ends at once. A new command in a document is run without further ado, or gets a row of NOT_RUN; a file that it names is made here.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cacheDirectory } from "../../src/guests/cache.ts";
import { debianGuest, guestInitramfs } from "../../src/guests/debian.ts";
import { regularFile } from "../../src/guests/initramfs.ts";
import { findProgram } from "../../src/platform/node/programs.ts";
import { runProgram } from "../cli/program.ts";
import { codeBlocks, type DocumentedCommand, documentedCommands, NOT_RUN } from "./commands.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Programs beside ours that some commands need. */
const TOOLS = ["grub-mkstandalone"];
/** A ramdisk of somebody else's: it does not know our words. */
const FOREIGN_INIT = "#!/bin/busybox sh\necho 'a ramdisk of its own'\nexec /bin/busybox poweroff -f\n";
const GRUB_CONFIGURATION = `
menuentry 'Linux' { linux /vmlinuz console=hvc0
initrd /initrd.img }
submenu 'More' {
	menuentry 'One' { linux /vmlinuz }
	menuentry 'Linux, with Xen' { linux /vmlinuz console=hvc0
	initrd /initrd.img }
	menuentry 'Three' { linux /vmlinuz console=hvc0
	initrd /initrd.img }
}
`;

const commands = documentedCommands();
const isExcluded = (command: string): boolean => NOT_RUN.some(([start]) => command.startsWith(start));
const isRun = ({ command }: DocumentedCommand): boolean => !isExcluded(command);
/** Each once, whatever document it is in. */
const run = [...new Map(commands.filter(isRun).map((each) => [each.command.replace(/^npx /, ""), each])).values()];

describe("commands in the documents", () => {
	let folder = "";
	beforeAll(async () => {
		folder = mkdtempSync(join(tmpdir(), "paravirt-docs-"));
		const at = (name: string): string => join(folder, name);
		const guest = await debianGuest();
		copyFileSync(guest.kernel, at("vmlinuz"));
		const files = [regularFile("init", FOREIGN_INIT, 0o755)];
		writeFileSync(at("initrd.img"), await guestInitramfs(guest, { files }));
		for (const name of ["FILE", "my.cfg"]) writeFileSync(at(name), name === "FILE" ? GRUB_CONFIGURATION : "halt\n");
		for (const name of ["disk.raw", "cd.iso", "file-system"]) {
			writeFileSync(at(name), "");
			truncateSync(at(name), 16 * 2 ** 20);
		}
		const tool = (name: string, ...args: string[]): void => {
			const { status, stderr } = spawnSync(findProgram(name) ?? `/sbin/${name}`, args, { encoding: "utf8" });
			expect(status, stderr).toBe(0);
		};
		tool("mke2fs", "-q", "-t", "ext4", at("file-system"));
		tool("qemu-img", "convert", "-O", "qcow2", at("file-system"), at("data.qcow2"));
		copyFileSync(at("data.qcow2"), at("disk.qcow2"));
		mkdirSync(at("project"));
		mkdirSync(at("bin"));
		const loader = join(ROOT, "node_modules/tsx/dist/loader.mjs");
		const main = join(ROOT, "src/cli/main.ts");
		writeFileSync(at("bin/paravirt"), `#!/bin/sh\nexec '${process.execPath}' --import '${loader}' '${main}' "$@"\n`, {
			mode: 0o755,
		});
		writeFileSync(at("bin/npx"), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
	}, 600_000);
	afterAll(() => rmSync(folder, { recursive: true }));

	it("are found, and what is not run is among them", () => {
		expect(run.length).toBeGreaterThan(15);
		for (const [start] of NOT_RUN) {
			expect(
				commands.some(({ command }) => command.startsWith(start)),
				start,
			).toBe(true);
		}
		expect(codeBlocks("a\n\n    b # c\n    d\n\ne\n```sh\nf\n```\n```ts\ng\n```\n")).toEqual([["b # c", "d"], ["f"]]);
	});

	it.each(run)("$document: $command", { timeout: 300_000 }, async ({ command }) => {
		const missing = TOOLS.find((name) => command.startsWith(name) && findProgram(name) === undefined);
		if (missing !== undefined) return;
		const env = {
			...process.env,
			PATH: `${join(folder, "bin")}:${process.env["PATH"]}`,
			HOME: folder,
			XDG_CACHE_HOME: join(cacheDirectory(), ".."),
			XDG_RUNTIME_DIR: folder,
			XDG_STATE_HOME: folder,
		};
		const { status, stdout, stderr } = await runProgram(["sh", "-c", `cd '${folder}' && ${command}`], { env });
		expect(status, stdout.slice(-2000) + stderr).toBe(0);
	});
});
