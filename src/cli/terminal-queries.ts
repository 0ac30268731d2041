/**
 * What a guest's programs have asked the user's terminal and what has not been answered yet: a shell asks for the cursor's place before it
 * edits a line. An answer that comes after the guest has gone would be typed at the host's shell. Follows the requests of ECMA-48 and of
 * xterm's control sequences (DSR, DA, DECRQM, window reports, OSC colours, DECRQSS).
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what this is about
const QUERY = /\x1b(?:\[[?>=]?[\d;]*(?:n|c|\$p)|\[(?:1[134589]|2[01])t|\[>\d*q|Z|\][\d;]+;\?|P[$+]q)/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const ANSWER = /\x1b(?:\[[?>]?[\d;]*(?:[Rnct]|\$y)|P|\])/g;
/** A sequence that goes on in the next piece. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const BEGINNING = /\x1b[[\]P]?[?>=$+]?[\d;$]{0,40}$/;

/** Counts a kind of sequences in a stream that comes in pieces. */
class SequenceCounter {
	private beginning = "";

	constructor(private readonly sequence: RegExp) {}

	/** @returns how many end in this piece */
	follow(data: Uint8Array): number {
		const text = this.beginning + Buffer.from(data.buffer, data.byteOffset, data.length).toString("latin1");
		const found = [...text.matchAll(this.sequence)];
		const last = found.at(-1);
		this.beginning = BEGINNING.exec(text.slice(last === undefined ? 0 : last.index + last[0].length))?.[0] ?? "";
		return found.length;
	}
}

export class TerminalQueries {
	private readonly queries = new SequenceCounter(QUERY);
	private readonly answers = new SequenceCounter(ANSWER);
	private open = 0;

	/** Whether an answer may still come. */
	get unanswered(): boolean {
		return this.open > 0;
	}

	/** Looks at output on its way to the terminal. */
	followOutput(data: Uint8Array): void {
		this.open += this.queries.follow(data);
	}

	/** Looks at what comes from the terminal. */
	followInput(data: Uint8Array): void {
		this.open = Math.max(0, this.open - this.answers.follow(data));
	}
}
