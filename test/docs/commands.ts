/** The command lines of README.md and docs/: what a reader types. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../", import.meta.url);
/** A block of code is one of commands if a line of it begins so. */
const COMMAND = /^(?:npx |echo .* \| (?:npx )?)?(?:paravirt|npm) /;
/** Words that stand for others: the line is a synopsis. */
const SYNOPSIS = /\[|\b(?:KERNEL|VERB|COMMAND)\b|start\|stop|, paravirt/;

/** Those that are not run, and why: what each begins with. */
export const NOT_RUN: readonly (readonly [start: string, reason: string])[] = [
	["npm ci", "it makes what runs this test"],
	["npx paravirt boot --suite trixie", "test/boot/newer.test.ts, with an empty cache"],
	["npx paravirt boot --grub /boot/grub/grub.cfg", "the host's own configuration: test/boot/grub.test.ts"],
	["npx paravirt xl create", "test/boot/verbs.test.ts has domains in a daemon"],
	["paravirt xl create", "test/boot/verbs.test.ts has domains in a daemon"],
	["paravirt image create", "test/boot/debian-system.test.ts makes an image, which takes minutes"],
	["paravirt run debian.img", "test/boot/run.test.ts has a little system on a disk"],
	["paravirt boot --disk debian.img", "test/boot/debian-system.test.ts boots one"],
	["npx paravirt boot --forward 8080:80", "the port may be in use: test/boot/run.test.ts looks for a free one"],
	["paravirt xl dump-core", "test/boot/lifecycle.test.ts opens a core in gdb"],
	["paravirt inspect --vmlinux vmlinux /boot/vmlinuz", "the machine's own kernel, and for that core"],
	["gdb vmlinux web.core", "it is of that core"],
	["ip tuntap", "it needs root: test/boot/networks.test.ts has a tap device where that is permitted"],
	["npx paravirt boot --net tap=tap0", "it needs that device"],
	["paravirt boot --share /srv/data", "a folder that few hosts have: test/boot/shares.test.ts"],
];

export interface DocumentedCommand {
	readonly document: string;
	readonly command: string;
}

/** All of them, in order, without what is said of them beside. */
export function documentedCommands(): DocumentedCommand[] {
	const documents = ["README.md", ...readdirSync(new URL("docs", ROOT)).map((name) => `docs/${name}`)];
	return documents
		.filter((name) => name.endsWith(".md"))
		.flatMap((document) => {
			const text = readFileSync(fileURLToPath(new URL(document, ROOT)), "utf8");
			const blocks = codeBlocks(text).filter((lines) => lines.some((line) => COMMAND.test(line)));
			const commands = blocks.flat().map((line) => line.replace(/(?: {3,}|\s+#\s).*$/, ""));
			return commands.filter((command) => !SYNOPSIS.test(command)).map((command) => ({ document, command }));
		});
}

/** Lines of each block that is indented, or fenced as sh. */
export function codeBlocks(text: string): string[][] {
	const prose = text.replaceAll(/^```(\w*)\n([\s\S]*?)^```$/gm, (_, language: string, body: string) =>
		language === "sh" ? body.replaceAll(/^(?=.)/gm, "    ") : "",
	);
	return prose
		.split(/\n(?! {4})/)
		.map((part) => part.split("\n").filter((line) => line.startsWith("    ")))
		.filter((lines) => lines.length > 0)
		.map((lines) => lines.map((line) => line.trim()));
}
