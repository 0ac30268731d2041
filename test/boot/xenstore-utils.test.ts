/**
 * Debian's xenstore-utils against the store's socket: the machine's own, or the packages from its mirror, kept in the cache. Where
 * neither is to be had, the test is skipped.
 */
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { serveStore } from "../../src/platform/node/store-socket.ts";
import { createStore } from "../store/machine.ts";
import { findUtils } from "./xenstore-utils.ts";

const run = promisify(execFile);
describe("the store's socket", () => {
	it("speaks to Debian's xenstore-utils", async (context) => {
		const utils = await findUtils();
		if (utils === undefined) return context.skip("no xenstore-utils on this machine or its mirror");
		const directory = mkdtempSync(join(tmpdir(), "paravirt-store-"));
		const { server, store } = createStore();
		const socket = await serveStore(server, join(directory, "socket"));
		const env = { ...utils, XENSTORED_PATH: socket.path };
		const xenstore = async (command: string, ...args: string[]): Promise<string> =>
			(await run(`xenstore-${command}`, args, { env })).stdout;
		try {
			await xenstore("write", "/a/b", "one", "/a/c", "two");
			await xenstore("chmod", "/a/b", "n0", "r7");
			expect(await xenstore("read", "/a/b")).toBe("one\n");
			expect(await xenstore("list", "/a")).toBe("b\nc\n");
			const listing = await xenstore("ls", "-p", "/a");
			expect(listing.replace(/[ .]+\(/g, " (")).toBe('b = "one" (n0,r7)\nc = "two" (n0)\n');
			await expect(xenstore("read", "/none")).rejects.toThrow("couldn't read path /none");
			// More than a message holds: by parts.
			for (let index = 0; index < 600; index++) store.makeDirectory(`/many/child-number-${index}`);
			expect((await xenstore("list", "/many")).split("\n").length).toBe(601);

			const watcher = spawn("xenstore-watch", ["-n", "3", "/a"], { env, stdio: ["ignore", "pipe", "inherit"] });
			let seen = "";
			const ended = new Promise((resolve) => watcher.once("close", resolve));
			watcher.stdout.on("data", (data: Uint8Array) => {
				if (seen === "") store.write("/a/b", "three");
				seen += new TextDecoder().decode(data);
				if (seen === "/a\n/a/b\n") void xenstore("rm", "/a/c");
			});
			await ended;
			expect(seen).toBe("/a\n/a/b\n/a/c\n");
			expect(store.list("/a")).toEqual(["b"]);
		} finally {
			await socket.close();
			rmSync(directory, { recursive: true });
		}
	});
});
