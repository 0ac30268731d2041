/** A shell in a guest that a test drives step by step, doing something on the host in between. */

import { READY_QUERY } from "../../src/guests/session.ts";
import type { GuestDomain } from "../../src/host/host.ts";

export interface Answer {
	readonly output: string;
	readonly status: number;
}

const KERNEL_MESSAGE = /^\[ *\d+\.\d+\] .*\n/gm;

export class GuestShell {
	/** All that has come. */
	console = "";
	private number = 0;
	private changed: () => void = () => {};

	/** Made before the guest's first instruction; its command line has `paravirt.input=pipe`. */
	constructor(private readonly domain: GuestDomain) {
		const decoder = new TextDecoder();
		domain.console.onOutput((data) => {
			this.console = (this.console + decoder.decode(data, { stream: true })).replaceAll("\r\n", "\n");
			this.changed();
		});
		domain.ended.then(() => this.changed());
	}

	/** Waits until the guest takes commands. */
	ready(): Promise<unknown> {
		return this.find(0, READY_QUERY);
	}

	/**
	 * Waits for the login of a system on a disk, and makes root's shell one that only prints what it is asked for.
	 * @param prompt of what shell there is without a login (init=/bin/bash)
	 */
	async login(prompt?: string): Promise<void> {
		if (prompt === undefined) {
			await this.find(0, "login: ");
			this.domain.console.write("root\n");
			prompt = "# ";
		}
		await this.find(Math.max(0, this.console.lastIndexOf("login: ")), prompt);
		this.domain.console.write("stty -echo; PS1= PS2= exec bash --norc --noediting\necho rea''dy\n");
		await this.find(0, "ready\n");
	}

	/** Runs a command of the shell. Rejected where the guest ends before it does. */
	async run(command: string): Promise<Answer> {
		const mark = `<<${++this.number}`;
		const from = this.console.length;
		// A program that reads its input would take what is typed behind it.
		this.domain.console.write(`echo '${mark}'\n{ ${command}\n} </dev/null\necho "${mark}>>$?"\n`);
		const end = new RegExp(`${mark}>>(\\d+)\\n`);
		await this.find(from, end);
		const text = this.console.slice(this.console.indexOf(`${mark}\n`, from) + mark.length + 1);
		const [, status] = end.exec(text) as RegExpExecArray;
		const output = text.slice(0, end.exec(text)?.index).replaceAll(KERNEL_MESSAGE, "");
		return { output, status: Number(status) };
	}

	/** The output of a command, which must succeed. */
	async output(command: string): Promise<string> {
		const { output, status } = await this.run(command);
		if (status !== 0) throw new Error(`${command}: status ${status}: ${output}`);
		return output.trim();
	}

	/** Waits until the guest has said something, from `from` on. Rejected where it ends before it does. */
	async said(what: string | RegExp, from = 0): Promise<void> {
		await this.find(from, what);
	}

	private async find(from: number, what: string | RegExp): Promise<void> {
		const there = (): boolean => {
			const text = this.console.slice(from);
			return typeof what === "string" ? text.includes(what) : what.test(text);
		};
		let ended = false;
		this.domain.ended.then(() => {
			ended = true;
		});
		while (!there()) {
			if (ended) throw new Error(`the guest has ended:\n${this.console.slice(-3000)}`);
			await new Promise<void>((resolve) => {
				this.changed = resolve;
			});
		}
	}
}
