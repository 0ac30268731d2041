/** What an entry has loaded when it is to be booted, whichever language it is written in. */
import type { Place } from "./errors.ts";

/** A file of the configuration with its arguments. */
export interface LoadedFile extends Place {
	/** As the configuration names it. */
	readonly path: string;
	readonly words: readonly string[];
}

/** What the boot loader would start. */
export type Loaded =
	| { readonly kind: "linux"; readonly kernel: LoadedFile; readonly ramdisks: readonly LoadedFile[] }
	| { readonly kind: "multiboot"; readonly kernel: LoadedFile; readonly modules: readonly LoadedFile[] };

/** Words as one command line, protected as GRUB 2 does it (grub_create_loader_cmdline): what reads it undoes that. */
export function commandLineOf(words: readonly string[]): string {
	return words
		.map((word) => {
			const escaped = word.replaceAll(/[\\'"]/g, "\\$&");
			return word.includes(" ") ? `"${escaped}"` : escaped;
		})
		.join(" ");
}

/** Thrown by the command `boot`, and by what ends GRUB: nothing after it is run. */
export class Finished {
	constructor(readonly loaded: Loaded | undefined) {}
}
