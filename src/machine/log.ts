/** The hypervisor's own log, a ring of text as `xl dmesg` shows it. */
const LIMIT = 64 * 1024;

/** How urgent a message is, the most urgent first: the levels of Xen's option loglvl. */
export const LOG_LEVELS = ["error", "warning", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a line is, for those who show only some of them: how urgent, and whether a guest has caused it (guest_loglvl). */
export interface LogKind {
	readonly level: LogLevel;
	readonly guest: boolean;
}
const OF_THE_HOST: LogKind = { level: "info", guest: false };

export class HypervisorLog {
	private text = "";
	/** Called with each line as it is logged, without its newline. */
	listener: ((line: string, kind: LogKind) => void) | undefined;

	/** One line; `(XEN) ` and a newline are added. */
	write(line: string, kind: LogKind = OF_THE_HOST): void {
		this.text = `${this.text}(XEN) ${line}\n`.slice(-LIMIT);
		this.listener?.(line, kind);
	}

	read(): string {
		return this.text;
	}

	clear(): void {
		this.text = "";
	}
}
