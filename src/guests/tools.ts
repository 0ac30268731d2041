/** Runs the machine's own tools, in the C locale, and turns their failures into messages for people. */
import { spawn } from "node:child_process";
import { GuestError } from "./errors.ts";
import type { Fraction } from "./progress.ts";

export interface ToolOptions {
	readonly cwd: string;
	/** What to do where the machine has not the tool, and where it fails. */
	readonly remedies: { readonly missing: string; readonly failed: string };
	readonly environment?: Readonly<Record<string, string>>;
	/** Gets what apt tells on descriptor 3. */
	readonly progress?: Fraction | undefined;
	/** Gets each line of standard error as it comes. */
	readonly onLine?: ((line: string) => void) | undefined;
	readonly interruption?: AbortSignal | undefined;
	/** What a message calls it; by default its name and arguments. */
	readonly title?: string;
}

/** Lines of a tool's complaints that are passed on. */
const MOST_COMPLAINTS = 5;

const SPACE_REMEDY = "Free some space, or name another place with the environment variable XDG_CACHE_HOME.";

/** @returns its standard output @throws GuestError with what it said */
export function runTool(tool: string, args: readonly string[], options: ToolOptions): Promise<string> {
	const { cwd, interruption, onLine, progress, remedies } = options;
	return new Promise((resolve, reject) => {
		const child = spawn(tool, args, {
			cwd,
			env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive", ...options.environment },
			stdio: ["ignore", "pipe", "pipe", "pipe"],
			...(interruption === undefined ? {} : { signal: interruption }),
		});
		let output = "";
		let complaints = "";
		child.stdout?.setEncoding("utf8").on("data", (text: string) => {
			output += text;
		});
		const tellLine = lines((line) => onLine?.(line));
		child.stderr?.setEncoding("utf8").on("data", (text: string) => {
			complaints += text;
			tellLine(text);
		});
		const tellStatus = lines((line) => {
			const percent = /^dlstatus:\d+:([\d.]+):/.exec(line)?.[1];
			if (percent !== undefined) progress?.(Math.min(Number(percent) / 100, 1));
		});
		child.stdio[3]?.on("data", (bytes: Buffer) => tellStatus(bytes.toString("utf8")));
		child.on("error", (error: NodeJS.ErrnoException) => {
			// Whoever interrupted it ends the program, and needs no message of it.
			if (interruption?.aborted === true) return;
			const reason = error.code === "ENOENT" ? `this machine has no ${tool}` : `${tool}: ${error.message}`;
			reject(new GuestError(reason, remedies.missing, { code: "no-tool", cause: error }));
		});
		child.on("close", (code, signal) => {
			if (interruption?.aborted === true) return;
			if (code === 0) {
				resolve(output);
				return;
			}
			// tar complains of each file that it cannot write.
			const last = complaints.trim().split("\n").slice(-MOST_COMPLAINTS).join("\n");
			const said = last === "" ? "" : `:\n${last}`;
			const title = options.title ?? [tool, ...args].join(" ");
			const ended = signal === null ? `failed with status ${code}` : `was ended by ${signal}`;
			const remedy = /No space left/.test(complaints) ? SPACE_REMEDY : remedies.failed;
			reject(new GuestError(`${title} ${ended}${said}`, remedy, { code: "tool-failed" }));
		});
	});
}

/** Takes text in pieces, and gives it on in lines. */
function lines(tell: (line: string) => void): (text: string) => void {
	let rest = "";
	return (text) => {
		const parts = (rest + text).split("\n");
		rest = parts.pop() ?? "";
		for (const line of parts) tell(line);
	};
}
