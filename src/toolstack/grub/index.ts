/** Boot loaders' configurations: GRUB 2's grub.cfg, and grub.conf and menu.lst of GRUB Legacy. */
import { GrubError } from "./errors.ts";
import { defaultRoots, GrubFiles, type HostFiles } from "./files.ts";
import type { Output } from "./interpreter.ts";
import { isLegacy, loadLegacyEntry, readLegacyMenu } from "./legacy.ts";
import { findEntry, formatMenu, type Menu } from "./menu.ts";
import { type BootPlan, planBoot } from "./plan.ts";
import { readScriptMenu, runScriptEntry } from "./script-menu.ts";

export { GrubError } from "./errors.ts";
export type { FileKind, HostFiles } from "./files.ts";
export type { BootPlan } from "./plan.ts";
export { bounded, dom0MemorySize, type XenOptions } from "./xen-options.ts";

/** A configuration that was read: a menu, and what each of its entries boots. */
export interface Configuration {
	readonly menu: Menu;
	/** What GRUB, too, would complain of when it reads the file, in sentences without their full stop. */
	readonly warnings: readonly string[];
	/** The menu as text, a line an entry. */
	list(): string;
	/**
	 * @param wanted number, "1>2", title or identifier; undefined: the default
	 * @throws GrubError, ImageError
	 */
	plan(wanted: string | undefined): Promise<BootPlan & { readonly title: string; readonly number: string }>;
}

/** How a path of the host begins below one of the folders that paths of the configuration begin in. */
function pathInside(file: string, roots: readonly string[]): string {
	for (const root of roots) {
		const base = root.replace(/\/+$/, "");
		if (file.startsWith(`${base}/`)) return file.slice(base.length);
	}
	return `/${file.split("/").at(-1)}`;
}

/**
 * Reads a configuration file.
 * @param file absolute path of the host
 * @param root absolute path of the folder in which the configuration's paths begin; undefined: the one that the file's /boot is in
 * @throws GrubError
 */
export async function readConfiguration(
	file: string,
	root: string | undefined,
	host: HostFiles,
): Promise<Configuration> {
	const roots = root === undefined ? defaultRoots(file) : [root];
	const files = new GrubFiles(host, roots);
	const text = new TextDecoder().decode(await host.read(file));
	if (text.includes("\0")) throw new GrubError({ file }, "it is no text", "Name a grub.cfg, grub.conf or menu.lst.");
	const plan = async (loaded: Parameters<typeof planBoot>[0], number: string, title: string) => ({
		...(await planBoot(loaded, files)),
		number,
		title,
	});
	const warnings = new Warnings();
	if (isLegacy(text)) {
		const menu = readLegacyMenu(text, file, warnings);
		return {
			menu,
			warnings: warnings.told,
			list: () => formatMenu(menu),
			plan: async (wanted) => {
				const { entry, number } = findEntry(menu, wanted);
				return plan(loadLegacyEntry(entry), number, entry.title);
			},
		};
	}
	const menu = await readScriptMenu(text, file, pathInside(file, roots), files, warnings);
	return {
		menu,
		warnings: warnings.told,
		list: () => formatMenu(menu),
		plan: async (wanted) => {
			const { entry, number } = findEntry(menu, wanted);
			const inEntry = new Warnings(new Set(warnings.reasons));
			const planned = await plan(await runScriptEntry(entry, number, files, inEntry), number, entry.title);
			return { ...planned, notices: [...inEntry.told, ...planned.notices] };
		},
	};
}

/** What is complained of, each thing once. */
class Warnings implements Output {
	readonly told: string[] = [];

	/** @param reasons that need not be told again */
	constructor(readonly reasons = new Set<string>()) {}

	print(): void {}

	warn({ message, reason }: GrubError): void {
		if (this.reasons.has(reason)) return;
		this.reasons.add(reason);
		this.told.push(`${message}; GRUB passes it over, and so do we`);
	}
}
