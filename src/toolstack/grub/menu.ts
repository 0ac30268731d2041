/** A boot loader's menu as a tree of entries, and how an entry is found: by number, "1>2", title or identifier. */
import { GrubError, type Place } from "./errors.ts";

export interface MenuEntry extends Place {
	readonly title: string;
	/** --id of GRUB 2. */
	readonly id: string | undefined;
	/** What is in a submenu; undefined: it boots something. */
	readonly entries: readonly MenuEntry[] | undefined;
}

export interface Menu<Entry extends MenuEntry = MenuEntry> {
	readonly file: string;
	readonly entries: readonly Entry[];
	/** As the configuration says it, e.g. "0", "1>2", a title, an identifier; empty where it says nothing. */
	readonly default: string;
}

/** An entry with its number in the tree, e.g. "1>2". */
export interface NumberedEntry<Entry extends MenuEntry = MenuEntry> {
	readonly number: string;
	readonly entry: Entry;
}

/** All entries, each submenu before what is in it. */
export function numberEntries<Entry extends MenuEntry>(entries: readonly Entry[], prefix = ""): NumberedEntry<Entry>[] {
	return entries.flatMap((entry, index) => {
		const number = `${prefix}${index}`;
		return [{ number, entry }, ...numberEntries((entry.entries ?? []) as readonly Entry[], `${number}>`)];
	});
}

/** The menu as text: a line for each entry, what is in a submenu indented below it. */
export function formatMenu(menu: Menu): string {
	const chosen = findDefault(menu);
	return numberEntries(menu.entries)
		.map(({ number, entry }) => {
			const indent = "  ".repeat(number.split(">").length - 1);
			const notes = `${entry.entries === undefined ? "" : " (submenu)"}${entry === chosen?.entry ? " (default)" : ""}`;
			return `${indent}${number}  ${entry.title}${notes}\n`;
		})
		.join("");
}

/** One step of a path through the tree: an entry's number among its siblings, its title or its identifier. */
function isNamed(entry: MenuEntry, step: string): boolean {
	return entry.title === step || entry.id === step;
}

/** Splits "A>B" where ">>" stands for the character itself. */
function pathSteps(path: string): string[] {
	return path.split(/(?<!>)>(?!>)/).map((step) => step.replaceAll(">>", ">").trim());
}

/** As GRUB reads the variable `default`: the first that fits at each level. */
function followPath<Entry extends MenuEntry>(menu: Menu<Entry>, path: string): NumberedEntry<Entry> | undefined {
	let entries: readonly Entry[] | undefined = menu.entries;
	let found: NumberedEntry<Entry> | undefined;
	for (const step of pathSteps(path)) {
		if (entries === undefined) return undefined;
		const index: number = /^\d+$/.test(step) ? Number(step) : entries.findIndex((entry) => isNamed(entry, step));
		const entry: Entry | undefined = entries[index];
		if (entry === undefined) return undefined;
		found = { number: found === undefined ? `${index}` : `${found.number}>${index}`, entry };
		entries = entry.entries as readonly Entry[] | undefined;
	}
	return found;
}

/** The entry that GRUB starts by itself: the first where the configuration names none that there is. */
function findDefault<Entry extends MenuEntry>(menu: Menu<Entry>): NumberedEntry<Entry> | undefined {
	return (menu.default === "" ? undefined : followPath(menu, menu.default)) ?? followPath(menu, "0");
}

const LIST_REMEDY = "--list prints the entries with their numbers.";

/**
 * @param wanted what the user asks for; undefined: the default
 * @throws GrubError where there is no such entry, several, or it is a submenu
 */
export function findEntry<Entry extends MenuEntry>(
	menu: Menu<Entry>,
	wanted: string | undefined,
): NumberedEntry<Entry> {
	const { file } = menu;
	if (menu.entries.length === 0) {
		throw new GrubError({ file }, "it has no menu entries", "Name a configuration with entries.");
	}
	const found = wanted === undefined ? findDefault(menu) : (anywhere(menu, wanted) ?? followPath(menu, wanted));
	if (found === undefined) throw new GrubError({ file }, `there is no entry "${wanted}"`, LIST_REMEDY);
	const { entry, number } = found;
	if (entry.entries !== undefined) {
		const what = `entry ${number}, "${entry.title}", is a submenu`;
		const example =
			entry.entries.length === 0 ? LIST_REMEDY : `Name an entry in it: --entry '${number}>0'. ${LIST_REMEDY}`;
		throw new GrubError(entry, what, example);
	}
	return found;
}

/** By title or identifier, wherever in the tree it is. */
function anywhere<Entry extends MenuEntry>(menu: Menu<Entry>, wanted: string): NumberedEntry<Entry> | undefined {
	if (/^\d+$/.test(wanted)) return undefined;
	const fitting = numberEntries(menu.entries).filter(({ entry }) => isNamed(entry, wanted));
	if (fitting.length > 1) {
		const which = fitting.map(({ number, entry }) => `${number} (line ${entry.line})`).join(", ");
		throw new GrubError({ file: menu.file }, `"${wanted}" is the name of several entries: ${which}`, "Give a number.");
	}
	return fitting[0];
}
