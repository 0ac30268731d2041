import { PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";

import { TerminalModes } from "../../src/cli/terminal-modes.ts";
import { attachPipes, QueryFilter } from "../../src/guests/piped-input.ts";
import type { ConsolePort } from "../../src/toolstack/guest-domain.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A console that keeps what is typed. */
class FakeConsole implements ConsolePort {
	typed = "";
	pendingInput = 0;
	taken: () => void = () => {};
	private readonly listeners = new Set<(data: Uint8Array) => void>();

	write(data: Uint8Array): void {
		this.typed += new TextDecoder().decode(data);
	}

	onInputTaken(listener: () => void): () => void {
		this.taken = listener;
		return () => {};
	}

	onOutput(listener: (data: Uint8Array) => void): () => void {
		this.listeners.add(listener);
		return () => this.listeners.delete(listener);
	}

	print(text: string): void {
		for (const listener of this.listeners) listener(bytes(text));
	}
}

describe("piped input", () => {
	const connect = (handshake: boolean) => {
		const port = new FakeConsole();
		const input = new PassThrough();
		const output = new PassThrough();
		const detach = attachPipes(port, input, output, { handshake });
		return { port, input, output, detach };
	};

	it("waits until /init asks for it, and ends with Ctrl-D", async () => {
		const { port, input, output, detach } = connect(true);
		input.end("uname\nexit\n");
		await turn();
		await turn();
		port.print("booting\r\n\x1b[");
		expect(port.typed).toBe("");
		port.print("5nready\r\n");
		expect(port.typed).toBe("uname\nexit\n\x04");
		detach();
		expect(output.read()?.toString()).toBe("booting\r\nready\r\n");
	});

	it("sends Ctrl-D twice behind an unfinished line", async () => {
		const { port, input, detach } = connect(true);
		port.print("\x1b[5n");
		input.end("exit");
		await turn();
		await turn();
		expect(port.typed).toBe("exit\x04\x04");
		detach();
	});

	it("without a handshake goes at once, and its end comes again and again while the console is quiet", async () => {
		const { port, input, detach } = connect(false);
		input.end("ls\n");
		await turn();
		await turn();
		expect(port.typed).toBe("ls\n");
		await vi.waitFor(() => expect(port.typed).toBe("ls\n\x04\x04"), { timeout: 10_000 });
		detach();
	});

	it("reads no more than the guest can keep up with", async () => {
		const { port, input, detach } = connect(true);
		port.print("\x1b[5n");
		port.pendingInput = 2 ** 20 + 1;
		input.write("first\n");
		await turn();
		input.write("second\n");
		await turn();
		expect(port.typed).toBe("first\n");
		port.pendingInput = 0;
		port.taken();
		await turn();
		expect(port.typed).toBe("first\nsecond\n");
		detach();
	});

	it("finds a query however the output is cut, once", () => {
		const text = "a\x1b\x1b[5m\x1b[5nb\x1b[5nc";
		for (let cut = 0; cut <= text.length; cut++) {
			let found = 0;
			const filter = new QueryFilter("\x1b[5n", () => found++);
			const parts = [text.slice(0, cut), text.slice(cut)].map((part) =>
				new TextDecoder().decode(filter.filter(bytes(part))),
			);
			expect(parts.join("")).toBe("a\x1b\x1b[5mb\x1b[5nc");
			expect(found).toBe(1);
		}
	});
});

describe("the modes of the terminal", () => {
	it("are brought back to what they were", () => {
		const modes = new TerminalModes();
		modes.follow(bytes("\x1b[?1049h\x1b[?25l\x1b[?1000;1006h\x1b[?7l"));
		modes.follow(bytes("\x1b[?7h\x1b[?1000l"));
		expect(modes.restore()).toBe("\x1b[?25h\x1b[?1006l\x1b[?1049l\x1b[0m");
	});

	it("are followed across pieces, and left alone where nothing was changed", () => {
		const modes = new TerminalModes();
		for (const byte of "text \x1b[?2004h \x1b[31m \x1b[?9999h") modes.follow(bytes(byte));
		expect(modes.restore()).toBe("\x1b[?2004l\x1b[0m");
		modes.follow(bytes("\x1b[?2004l"));
		expect(modes.restore()).toBe("");
	});
});
