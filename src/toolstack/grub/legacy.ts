/** GRUB Legacy's configuration (grub.conf, menu.lst): a command a line, an entry from each `title` to the next. */
import { GrubError, type Place } from "./errors.ts";
import type { Output } from "./interpreter.ts";
import type { Loaded, LoadedFile } from "./loaded.ts";
import type { Menu, MenuEntry } from "./menu.ts";

interface Line extends Place {
	readonly name: string;
	readonly words: readonly string[];
}

export interface LegacyEntry extends MenuEntry {
	readonly entries: undefined;
	readonly lines: readonly Line[];
}

/** Of the screen, the keyboard, passwords, disks' names and saved state: nothing that decides what is booted. */
const PASSED_OVER = [
	...["timeout", "fallback", "hiddenmenu", "splashimage", "background", "foreground", "shade", "viewport", "gfxmenu"],
	...["color", "password", "lock", "serial", "terminal", "pager", "quiet", "pause", "root", "rootnoverify", "uuid"],
	...["slaunch", "slaunch_module", "savedefault", "boot", "makeactive", "verbose", "device", "findroot"],
];

/** Whether a file is in this language and not in GRUB 2's. */
export function isLegacy(text: string): boolean {
	return /^[ \t]*title(?:[ \t=]|$)/m.test(text) && !/^[ \t]*(?:menuentry|submenu)[ \t]/m.test(text);
}

function isComment(line: string): boolean {
	return /^[ \t]*(?:#|$)/.test(line);
}

/** @param output is told of commands before the first entry that GRUB Legacy does not have: it skips them */
export function readLegacyMenu(text: string, file: string, output: Pick<Output, "warn">): Menu<LegacyEntry> {
	const entries: (LegacyEntry & { lines: Line[] })[] = [];
	let chosen = "";
	for (const [index, raw] of text.split("\n").entries()) {
		const content = raw.replace(/\r$/, "");
		if (isComment(content)) continue;
		const place = { file, line: index + 1 };
		// An equals sign may stand in place of the first blanks: "default=0".
		const [, name = "", rest = ""] = /^[ \t]*([^ \t=]+)(?:[ \t]*=[ \t]*|[ \t]+|$)(.*)$/.exec(content) ?? [];
		if (name === "title") {
			entries.push({ ...place, title: rest.trim(), id: undefined, entries: undefined, lines: [] });
			continue;
		}
		const line = { ...place, name, words: rest.split(/[ \t]+/).filter((word) => word !== "") };
		const entry = entries.at(-1);
		if (entry !== undefined) entry.lines.push(line);
		else if (name === "default") chosen = line.words[0] ?? "";
		else if (!PASSED_OVER.includes(name)) output.warn(unknown(line));
	}
	// "saved" is the entry that was booted last, which the configuration does not tell.
	return { file, entries, default: /^\d+$/.test(chosen) ? chosen : "" };
}

function unknown(line: Line): GrubError {
	return new GrubError(line, `"${line.name}" is no command that paravirt knows`, "Take it out of a copy of the file.");
}

function loadedFile(line: Line): LoadedFile {
	const first = line.words.findIndex((word) => !word.startsWith("--"));
	const path = line.words[first];
	if (path === undefined) throw new GrubError(line, `${line.name} names no file`, "Correct the line.");
	return { file: line.file, line: line.line, path, words: line.words.slice(first + 1) };
}

/**
 * What an entry loads. `kernel` starts a multiboot kernel, such as Xen, where modules follow it, and Linux otherwise.
 * @throws GrubError where it loads nothing, or starts something else
 */
export function loadLegacyEntry(entry: LegacyEntry): Loaded {
	let kernel: LoadedFile | undefined;
	const ramdisks: LoadedFile[] = [];
	const modules: LoadedFile[] = [];
	for (const line of entry.lines) {
		switch (line.name) {
			case "kernel":
				kernel = loadedFile(line);
				break;
			case "initrd":
				for (const path of line.words) ramdisks.push({ file: line.file, line: line.line, path, words: [] });
				break;
			case "module":
			case "modulenounzip":
				modules.push(loadedFile(line));
				break;
			case "chainloader":
			case "configfile":
				throw new GrubError(
					line,
					`${line.name} starts ${line.name === "chainloader" ? "another boot loader" : "another menu"}`,
					"Choose another entry with --entry.",
				);
			default:
				if (!PASSED_OVER.includes(line.name)) throw unknown(line);
		}
	}
	if (kernel === undefined) {
		throw new GrubError(entry, `the entry "${entry.title}" loads no kernel`, "Choose another entry with --entry.");
	}
	if (modules.length === 0) return { kind: "linux", kernel, ramdisks };
	if (ramdisks.length > 0) {
		throw new GrubError(ramdisks[0] as LoadedFile, "initrd and module are in one entry", "Use module for both.");
	}
	return { kind: "multiboot", kernel, modules };
}
