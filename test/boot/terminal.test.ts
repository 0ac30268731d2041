/** A person at the shell: what is typed comes one thing after another, and some of it is no text. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SIZE_NODE } from "../../src/guests/session.ts";
import { type GuestDomain, Host } from "../../src/index.ts";
import { canAssemble } from "../host/echo-guest.ts";
import { complaints, debianImages } from "./guest.ts";

const GIB = 2 ** 30;
const PROMPT = /(?<=^|\n)\S+ # $/;

describe.runIf(canAssemble)("an interactive shell, on a guest with 1 GiB", () => {
	let host: Host;
	let domain: GuestDomain;
	let console = "";
	/** What has been seen by earlier waits. */
	let seen = 0;
	let heard: () => void = () => {};

	/** Waits for output, from where the last wait ended. */
	async function output(expected: RegExp): Promise<string> {
		for (;;) {
			// biome-ignore lint/suspicious/noControlCharactersInRegex: the shell asks where the cursor is
			const text = console.slice(seen).replaceAll(/\x1b\[\d*[A-Za-z]/g, "");
			if (expected.test(text)) {
				seen = console.length;
				return text;
			}
			await new Promise<void>((resolve) => {
				heard = resolve;
			});
		}
	}
	const type = (text: string): void => domain.console.write(text);
	/** Types a line and waits for the prompt that follows what it prints. */
	const run = async (line: string): Promise<string> => {
		type(`${line}\n`);
		const text = await output(PROMPT);
		return text
			.replaceAll("\r\n", "\n")
			.replace(PROMPT, "")
			.slice(line.length + 1);
	};

	beforeAll(async () => {
		const { kernel, ramdisk } = await debianImages();
		host = new Host({ memory: GIB + 32 * 2 ** 20 });
		domain = await host.createDomain({ kernel, ramdisk, commandLine: "console=hvc0", memory: GIB }, (created) => {
			created.console.onOutput((data) => {
				console += new TextDecoder().decode(data);
				heard();
			});
		});
		await output(PROMPT);
	}, 240_000);
	afterAll(() => {
		domain?.destroy();
		host?.stop();
	});

	it("echoes, runs a command and prompts again", async () => {
		expect(await run("echo $((6 * 7))")).toBe("42\n");
	});

	/**
	 * Types a command that goes on, and waits until it does. The child itself says so: until it has the terminal, a control character is the
	 * shell's own, and one that comes while the shell forks is kept until the command ends.
	 */
	const start = async (command: string): Promise<void> => {
		type(`sh -c 'echo sta""rted; exec ${command}'\n`);
		await output(/\nstarted\r\n/);
	};

	it("is interrupted by Ctrl-C", async () => {
		await start("sleep 1000");
		type("\x03");
		await output(PROMPT);
		expect(await run("echo $?")).toBe("130\n");
	});

	it("suspends by Ctrl-Z", async () => {
		await start("sleep 1000");
		type("\x1a");
		expect(await output(PROMPT)).toContain("Stopped");
		expect(await run("jobs")).toMatch(/\[1\]\+ +Stopped.*sleep 1000/);
		await run("kill -KILL %1; wait %1");
		// The shell tells once of a job that has ended, before the prompt at which it knows: of which command that is, nobody can say.
		expect(await run("jobs")).toMatch(/^(?:\[1\]\+ +Killed +.*sleep 1000.*\n)?$/);
		expect(await run("jobs")).toBe("");
	});

	it("ends a program's input by Ctrl-D", async () => {
		await start("cat");
		type("a line\n");
		await output(/a line\r\na line\r\n/);
		type("\x04");
		await output(PROMPT);
	});

	it("edits a line and repeats it", async () => {
		type("echo abX\x7fc\n");
		expect(await output(PROMPT)).toMatch(/\nabc\r\n/);
		type("\x1b[A\n");
		expect(await output(PROMPT)).toMatch(/\nabc\r\n/);
	});

	it("follows the window's size, and tells the program that runs", async () => {
		type('sh -c \'trap "echo re"sized WINCH; echo wai""ting; while :; do sleep 0.1; done\'\n');
		await output(/waiting/);
		domain.store.write(SIZE_NODE, "31 97");
		await output(/resized/);
		domain.store.write(SIZE_NODE, "55 132");
		await output(/resized/);
		type("\x03");
		await output(PROMPT);
		expect(await run("stty size")).toBe("55 132\n");
	});

	it("has its gibibyte and a clock that goes with the host's", async () => {
		const kibibytes = Number(/\d+/.exec(await run("grep MemTotal /proc/meminfo"))?.[0]);
		expect(kibibytes).toBeGreaterThan(900_000);
		expect(kibibytes).toBeLessThan(1_048_576);
		const seconds = Number((await run("date +%s")).trim());
		expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(60);
	});

	it("restarts", async () => {
		type("reboot -f\n");
		expect((await domain.ended).reason).toBe("reboot");
		expect(complaints(console)).toEqual([]);
	});
});
