/** A grub.cfg as a menu, and what one of its entries loads. */
import { DEVICE } from "./commands.ts";
import { GrubError, type Place } from "./errors.ts";
import type { GrubFiles } from "./files.ts";
import { Context, Interpreter, type Output, type ScriptEntry } from "./interpreter.ts";
import { Finished, type Loaded } from "./loaded.ts";
import type { Menu } from "./menu.ts";
import { parseScript } from "./syntax.ts";

/** What scripts made for GRUB 2.02 and later ask whether they may use it. */
const FEATURES = [
	...["chainloader_bpb", "ntldr", "platform_search_hint", "default_font_path", "all_video_module"],
	...["menuentry_id", "menuentry_options", "200_final", "nativedisk_cmd", "timeout_style"],
];

/** GRUB's own variables before the first line is read. @param prefix the path of the folder that the file is in */
function initialContext(prefix: string): Context {
	const variables = new Map([
		["root", DEVICE],
		["prefix", prefix],
		["cmdpath", `(${DEVICE})`],
		["config_directory", prefix],
		// Configurations are made for the machine that they lie on, which is a PC to GRUB.
		["grub_cpu", "i386"],
		["grub_platform", "pc"],
		["pager", ""],
		["lang", ""],
		...FEATURES.map((name): [string, string] => [`feature_${name}`, "y"]),
	]);
	return new Context(variables, new Set(variables.keys()), new Map());
}

/**
 * Reads a grub.cfg.
 * @param file the host's path, for messages
 * @param path what GRUB would call it, e.g. "/boot/grub/grub.cfg"
 * @throws GrubError
 */
export async function readScriptMenu(
	text: string,
	file: string,
	path: string,
	files: GrubFiles,
	output: Output,
): Promise<Menu<ScriptEntry>> {
	const prefix = path.slice(0, Math.max(path.lastIndexOf("/"), 0)) || "/";
	const grub = new Interpreter(files, file, initialContext(`(${DEVICE})${prefix}`), output);
	try {
		await grub.call(parseScript(text, file), [], { file, line: 1 });
	} catch (error) {
		if (!(error instanceof Finished)) throw error;
	}
	return { file, entries: grub.entries, default: grub.get("default") };
}

/**
 * Runs an entry.
 * @param chosen its number, e.g. "1>2"
 * @throws GrubError where it loads no kernel
 */
export async function runScriptEntry(
	entry: ScriptEntry,
	chosen: string,
	files: GrubFiles,
	output: Output,
): Promise<Loaded> {
	const context = entry.context.copy();
	context.variables.set("chosen", chosen);
	const grub = new Interpreter(files, entry.file, context, output);
	const place: Place = { file: entry.file, line: entry.line };
	let loaded: Loaded | undefined;
	try {
		await grub.call(entry.body, entry.parameters, place);
		loaded = grub.loaded;
	} catch (error) {
		if (!(error instanceof Finished)) throw error;
		loaded = error.loaded;
	}
	if (loaded === undefined) {
		throw new GrubError(place, `the entry "${entry.title}" loads no kernel`, "Choose another entry with --entry.");
	}
	return loaded;
}
