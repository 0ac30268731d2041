/** The hypervisor's own log, a ring of text as `xl dmesg` shows it. */
const LIMIT = 64 * 1024;

export class HypervisorLog {
	private text = "";
	/** Called with each line as it is logged, without its newline. */
	listener: ((line: string) => void) | undefined;

	/** One line; `(XEN) ` and a newline are added. */
	write(line: string): void {
		this.text = `${this.text}(XEN) ${line}\n`.slice(-LIMIT);
		this.listener?.(line);
	}

	read(): string {
		return this.text;
	}

	clear(): void {
		this.text = "";
	}
}
