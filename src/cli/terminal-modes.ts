/**
 * What a guest's programs switched on in the user's terminal and did not switch off again: when the console is left in the middle
 * of an editor, the terminal must not stay on the alternate screen, without a cursor, or reporting the mouse. Follows DEC private
 * modes (ECMA-48 SM and RM with "?", as in xterm's control sequences).
 */

/** Modes that are followed, and whether they are set in a terminal at rest. Restored in this order. */
const AT_REST: Readonly<Record<string, boolean>> = {
	1: false, // application cursor keys
	7: true, // wrap at the margin
	9: false, // mouse reports, five kinds, and their encodings
	1000: false,
	1002: false,
	1003: false,
	1005: false,
	1006: false,
	1015: false,
	1004: false, // focus reports
	2004: false, // bracketed paste
	47: false, // alternate screen
	1047: false,
	1049: false,
	25: true, // cursor shown
};

/** A private-mode sequence, or the beginning of one at the end of the text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what this is about
const SEQUENCE = /\x1b\[\?([\d;]{1,40})([hl])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const BEGINNING = /\x1b(?:\[(?:\?[\d;]{0,40})?)?$/;

export class TerminalModes {
	private readonly changed = new Set<string>();
	private beginning = "";

	/** Looks at output on its way to the terminal. */
	follow(output: Uint8Array): void {
		const text = this.beginning + Buffer.from(output.buffer, output.byteOffset, output.length).toString("latin1");
		for (const [, modes = "", action] of text.matchAll(SEQUENCE)) {
			for (const mode of modes.split(";")) {
				if (AT_REST[mode] === undefined) continue;
				if (AT_REST[mode] === (action === "h")) this.changed.delete(mode);
				else this.changed.add(mode);
			}
		}
		this.beginning = BEGINNING.exec(text)?.[0] ?? "";
	}

	/** The sequences that bring the terminal back to rest, with the colours; empty where nothing was changed. */
	restore(): string {
		const modes = Object.keys(AT_REST).filter((mode) => this.changed.has(mode));
		if (modes.length === 0) return "";
		return `${modes.map((mode) => `\x1b[?${mode}${AT_REST[mode] ? "h" : "l"}`).join("")}\x1b[0m`;
	}
}
