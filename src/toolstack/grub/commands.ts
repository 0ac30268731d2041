/** GRUB 2's commands, as far as they decide what is booted; and by name those that do not, which are passed over. */
import { readBlsEntries } from "./blscfg.ts";
import { CommandFailure, GrubError, GrubStatus, type Place } from "./errors.ts";
import type { Interpreter, ScriptEntry } from "./interpreter.ts";
import { Finished, type LoadedFile } from "./loaded.ts";
import { regexp } from "./regexp.ts";
import { parseScript, type Script } from "./syntax.ts";
import { evaluateTest } from "./test-command.ts";

/** A command as it is executed: its words after variables were replaced. */
export interface Invocation {
	readonly name: string;
	readonly words: readonly string[];
	readonly block: Script | undefined;
	readonly place: Place;
}

/** @returns the command's status: 0 for success */
type Run = (grub: Interpreter, invocation: Invocation) => number | Promise<number>;

/**
 * What concerns GRUB's own screen, keyboard, modules, passwords and saved state, or makes devices readable that here are a folder. Whether
 * they succeed changes nothing about what is booted; they are said to. Some are of Fedora's, openSUSE's and TrenchBoot's GRUB alone.
 */
const PASSED_OVER = [
	...["insmod", "rmmod", "lsmod", "nativedisk", "clear", "sleep", "sync", "cat", "ls", "help", "normal"],
	...["terminal_input", "terminal_output", "terminal", "terminfo", "serial", "keymap", "play", "videoinfo"],
	...["background_image", "background_color", "loadfont", "save_env", "cryptomount", "loopback", "gptsync"],
	...["btrfs-mount-subvol", "btrfs-list-subvols", "btrfs-info", "zfs-bootfs", "zfsinfo", "zfskey", "parttool"],
	...["hashsum", "md5sum", "sha1sum", "sha256sum", "sha512sum", "crc", "hexdump", "gettext", "hello", "date", "time"],
	...["acpi", "lsacpi", "lsefi", "lsefimmap", "lsefisystab", "lsapm", "lsmmap", "lspci", "lsfonts", "list_env", "dump"],
	...["write_byte", "write_word", "write_dword", "outb", "outw", "outl", "setpci", "cutmem", "badram", "hdparm"],
	...["drivemap", "mactelbless", "macppcbless", "gdbstub", "gdbstub_stop", "backtrace", "videotest", "rdmsr", "wrmsr"],
	...["slaunch", "slaunch_module", "slaunch_state", "tpm", "tpm_record_pcrs", "shim_lock"],
	...["password", "password_pbkdf2", "authenticate", "verify_detached", "trust", "distrust", "list_trusted"],
];

/** What starts something else than a kernel. */
const OTHER_SYSTEMS: Readonly<Record<string, string>> = {
	chainloader: "another boot loader",
	ntldr: "another boot loader",
	fwsetup: "the firmware's settings",
	kfreebsd: "FreeBSD",
	knetbsd: "NetBSD",
	kopenbsd: "OpenBSD",
	xnu_kernel: "Darwin",
	xnu_kernel64: "Darwin",
	appleloader: "Darwin",
	freedos: "FreeDOS",
	plan9: "Plan 9",
	truecrypt: "another boot loader",
	xen_hypervisor: "Xen for ARM",
};

function otherSystem(name: string, place: Place): GrubError {
	const what = `${name} starts ${OTHER_SYSTEMS[name]}`;
	return new GrubError(place, `${what}: that is no Linux kernel to boot`, "Choose another entry with --entry.");
}

/** What ends GRUB without booting anything. */
const ENDINGS = ["halt", "reboot", "exit"];

/** Options of load commands that are about how GRUB reads the file. */
const isOption = (word: string): boolean => word.startsWith("--");

function loadedFile({ name, words, place }: Invocation): LoadedFile {
	const first = words.findIndex((word) => !isOption(word));
	const path = words[first];
	if (path === undefined) throw new GrubError(place, `${name} names no file`, "Correct the line.");
	return { ...place, path, words: words.slice(first + 1) };
}

const linux: Run = (grub, invocation) => {
	const file = loadedFile(invocation);
	// As GRUB on a PC does; GRUB Legacy and GRUB for Xen do not.
	const kernel = { ...file, words: [`BOOT_IMAGE=${file.path}`, ...file.words] };
	grub.loaded = { kind: "linux", kernel, ramdisks: [] };
	return 0;
};

const initrd: Run = (grub, { name, words, place }) => {
	if (grub.loaded?.kind !== "linux") {
		throw new GrubError(place, `${name} comes before a kernel`, "Put it behind the linux command.");
	}
	const paths = words.filter((word) => !isOption(word));
	const special = paths.find((path) => path.startsWith("newc:"));
	if (special !== undefined) throw new GrubError(place, `"${special}": newc: is not supported`, "Name plain files.");
	if (paths.length === 0) throw new GrubError(place, `${name} names no file`, "Correct the line.");
	grub.loaded = { ...grub.loaded, ramdisks: paths.map((path) => ({ ...place, path, words: [] })) };
	return 0;
};

const multiboot: Run = (grub, invocation) => {
	grub.loaded = { kind: "multiboot", kernel: loadedFile(invocation), modules: [] };
	return 0;
};

const module: Run = (grub, invocation) => {
	const { name, place } = invocation;
	if (grub.loaded?.kind !== "multiboot") {
		throw new GrubError(place, `${name} comes before a multiboot kernel`, "Put it behind the multiboot command.");
	}
	grub.loaded = { ...grub.loaded, modules: [...grub.loaded.modules, loadedFile(invocation)] };
	return 0;
};

const set: Run = (grub, { words, place }) => {
	for (const word of words) {
		const equals = word.indexOf("=");
		if (equals <= 0) throw new CommandFailure(place, `set: "${word}" is no assignment`);
		grub.context.variables.set(word.slice(0, equals), word.slice(equals + 1));
	}
	return 0;
};

const unset: Run = (grub, { words }) => {
	for (const word of words) grub.context.variables.delete(word);
	return 0;
};

const exportVariables: Run = async (grub, invocation) => {
	for (const word of invocation.words) {
		if (word.includes("=")) await set(grub, { ...invocation, words: [word] });
		grub.context.exported.add(word.split("=")[0] as string);
	}
	return 0;
};

/** For GRUB the bracket that closes is one that may be there. */
const test: Run = async (grub, { words, place }) =>
	(await evaluateTest(words.at(-1) === "]" ? words.slice(0, -1) : words, grub.files, place)) ? 0 : 1;

/**
 * Sets a variable to the device that has a file system with this identifier or label, or a file. All devices are one folder, so what
 * it is set to is of no account; only a file can be missing.
 */
const search: Run = async (grub, { name, words, place }) => {
	let kind = name.startsWith("search.") ? name.slice("search.".length) : "file";
	let variable: string | undefined = name === "search" ? undefined : "root";
	const names: string[] = [];
	for (let index = 0; index < words.length; index++) {
		const word = words[index] as string;
		if (word === "--set" || word.startsWith("--set=")) variable = word.slice("--set=".length) || "root";
		else if (word === "-s") variable = words[++index] ?? "root";
		else if (word === "--fs-uuid" || word === "-u") kind = "fs_uuid";
		else if (word === "--label" || word === "-l" || word === "--fs-label") kind = "fs_label";
		else if (word === "--file" || word === "-f") kind = "file";
		else if (/^--(?:hint(?:-[a-z0-9]+)?$)/.test(word)) index++;
		else if (!word.startsWith("-")) names.push(word);
		else if (!/^--(?:hint|no-floppy|efidisk-only)|^-n$|^-h/.test(word)) {
			throw new CommandFailure(place, `search: unknown argument "${word}"`, GrubStatus.invalidCommand);
		}
	}
	// search.file NAME VARIABLE HINT... of GRUB's own start-up file.
	if (name !== "search" && names[1] !== undefined) variable = names[1];
	const [wanted] = names;
	if (wanted === undefined) throw new CommandFailure(place, "search names nothing to look for");
	if (kind === "file" && (await grub.files.find(wanted, place)) === undefined) return 1;
	if (variable !== undefined && grub.get(variable) === "") grub.context.variables.set(variable, DEVICE);
	return 0;
};

/** The name of the only device. */
export const DEVICE = "hd0";

/** grubenv: lines NAME=VALUE, in which a backslash protects what follows, filled up with "#". */
const loadEnvironment: Run = async (grub, { words, place }) => {
	let path = `${grub.get("prefix")}/grubenv`;
	const names: string[] = [];
	for (let index = 0; index < words.length; index++) {
		const word = words[index] as string;
		if (word === "--file" || word === "-f") path = words[++index] ?? path;
		else if (word.startsWith("--file=")) path = word.slice("--file=".length);
		else if (!isOption(word)) names.push(word);
	}
	const found = await grub.files.find(path, place);
	if (found?.kind !== "file") return 1;
	const text = new TextDecoder().decode(await grub.files.host.read(found.path));
	for (const [, name = "", value = ""] of text.matchAll(/^([^#=\n]+)=((?:\\[\s\S]|[^\\\n])*)$/gm)) {
		if (names.length > 0 && !names.includes(name)) continue;
		grub.context.variables.set(name, value.replaceAll(/\\([\s\S])/g, "$1"));
	}
	return 0;
};

const source: Run = async (grub, { name, words, place }) => {
	const [path] = words;
	if (path === undefined) throw new CommandFailure(place, `${name} names no file`);
	const found = await grub.files.find(path, place);
	if (found?.kind !== "file") {
		throw new CommandFailure(place, `${name}: there is no file "${path}"`, GrubStatus.none);
	}
	const at = found.path;
	const script = parseScript(new TextDecoder().decode(await grub.files.host.read(at)), at);
	// configfile shows a menu of its own in place of the one so far.
	if (name === "configfile") grub.entries.length = 0;
	return grub.call(script, grub.arguments, place, at);
};

const evaluate: Run = (grub, { words, place }) =>
	grub.call(parseScript(words.join(" "), place.file), grub.arguments, place);

/** increment and decrement, which Fedora's GRUB has for its counter of boots: a variable's whole number, by one more or less. */
const count =
	(by: number): Run =>
	(grub, { name, words, place }) => {
		const [variable = ""] = words;
		const value = /^[-+]?\d+$/.test(grub.get(variable)) ? Number(grub.get(variable)) : undefined;
		if (value === undefined) throw new CommandFailure(place, `${name}: "${variable}" is no variable with a number`);
		grub.context.variables.set(variable, String(value + by));
		return 0;
	};

/** The firmware's settings; with --is-supported only whether a reboot into them could be asked for. */
const firmwareSettings: Run = (_, { name, words, place }) => {
	if (words[0] === "--is-supported") return 1;
	throw otherSystem(name, place);
};

/** With -n the line is not ended; -e is for escapes, which configurations have no use for. */
const echo: Run = (grub, { words }) => {
	grub.output.print(words.filter((word, index) => index > 1 || !/^-[ne]$/.test(word)).join(" "));
	return 0;
};

/** menuentry and submenu: nothing of the block is run now. */
const menuEntry: Run = async (grub, { name, words, block, place }) => {
	let id: string | undefined;
	const parameters: string[] = [];
	let text: Script | undefined = block;
	for (let index = 0; index < words.length; index++) {
		const word = words[index] as string;
		const [option, attached] = word.startsWith("--") ? splitOption(word) : [undefined, undefined];
		if (option === undefined) parameters.push(word);
		else if (option === "--unrestricted") continue;
		else if (!["--class", "--users", "--hotkey", "--id", "--source"].includes(option)) {
			throw new CommandFailure(place, `${name}: unknown argument "${option}"`, GrubStatus.invalidCommand);
		} else {
			const value = attached ?? words[++index];
			if (option === "--id") id = value;
			if (option === "--source") text = parseScript(value ?? "", place.file);
		}
	}
	const [title] = parameters;
	if (title === undefined) throw new CommandFailure(place, `${name} has no title`);
	if (text === undefined) throw new CommandFailure(place, `${name} "${title}" has no block`);
	const entry = { ...place, title, id, parameters, body: text };
	if (name === "menuentry") grub.entries.push({ ...entry, entries: undefined, context: grub.context });
	else grub.entries.push(await openSubmenu(grub, entry, place));
	return 0;
};

/** The entries that are files of their own. */
const blscfg: Run = async (grub, { place }) => {
	for (const entry of await readBlsEntries(grub.files, place)) {
		grub.entries.push({ ...entry, parameters: [entry.title], entries: undefined, context: grub.context });
	}
	return 0;
};

/** What a submenu shows: its block is run with the exported variables alone. */
async function openSubmenu(
	grub: Interpreter,
	entry: Omit<ScriptEntry, "entries" | "context">,
	place: Place,
): Promise<ScriptEntry> {
	const context = grub.context.inner();
	return { ...entry, context, entries: await grub.menuOf(context, entry.body, entry.parameters, place) };
}

function splitOption(word: string): [option: string, value: string | undefined] {
	const equals = word.indexOf("=");
	return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)];
}

function named(names: readonly string[], run: Run): Record<string, Run> {
	return Object.fromEntries(names.map((name) => [name, run]));
}

export const COMMANDS: Readonly<Record<string, Run>> = {
	...named(PASSED_OVER, () => 0),
	...named(Object.keys(OTHER_SYSTEMS), (_, { name, place }) => {
		throw otherSystem(name, place);
	}),
	fwsetup: firmwareSettings,
	...named(ENDINGS, () => {
		throw new Finished(undefined);
	}),
	boot: (grub) => {
		throw new Finished(grub.loaded);
	},
	...named(["linux", "linux16", "linuxefi"], linux),
	...named(["initrd", "initrd16", "initrdefi"], initrd),
	...named(["multiboot", "multiboot2"], multiboot),
	...named(["module", "module2"], module),
	set,
	unset,
	export: exportVariables,
	...named(["test", "["], test),
	...named(["search", "search.file", "search.fs_uuid", "search.fs_label"], search),
	load_env: loadEnvironment,
	...named(["source", ".", "configfile"], source),
	eval: evaluate,
	echo,
	increment: count(1),
	decrement: count(-1),
	regexp,
	// The processor has long mode and PAE, and that is all that it can be asked for.
	...named(["true", "cpuid"], () => 0),
	// No key is held down.
	...named(["false", "keystatus"], () => 1),
	setparams: (grub, { words }) => {
		grub.setParameters(words);
		return 0;
	},
	shift: (grub, { words }) => {
		grub.setParameters(grub.arguments.slice(Number(words[0] ?? 1) || 1));
		return 0;
	},
	...named(["menuentry", "submenu"], menuEntry),
	blscfg,
};
