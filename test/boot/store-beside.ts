/**
 * xenstore between Debian's kernel, by its /dev/xen/xenbus, and Debian's xenstore-utils on the host, by the daemon's socket: each sees what the other
 * does, with permissions, transactions, watches and quotas.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { expect } from "vitest";
import { XsType } from "../../src/xen/abi/xenstore.ts";

const run = promisify(execFile);

/** A shell in the guest that has /dev/xen/xenbus as descriptor 3. */
export interface GuestShell {
	run(command: string): Promise<string>;
}

/** A request by the guest's shell; prints the reply's payload, NULs as "|". @param rest bytes of x behind the payload */
export function guestRequest(type: number, payload: string, transaction = 0, rest = 0): string {
	const word = (value: number): string =>
		[value, value >> 8, value >> 16, value >> 24]
			.map((byte) => `\\${(byte & 0xff).toString(8).padStart(3, "0")}`)
			.join("");
	const length = payload.replaceAll("\\000", "0").length + rest;
	const more = rest === 0 ? "" : `; head -c ${rest} /dev/zero | tr '\\0' x`;
	return `{ printf '${[type, 1, transaction, length].map(word).join("")}${payload}'${more}; } >&3; dd bs=4096 count=1 <&3 2>/dev/null | tail -c +17 | tr '\\0' '|'`;
}

export function guestRead(path: string, transaction = 0): string {
	return guestRequest(XsType.read, `${path}\\000`, transaction);
}

/** What xenstore-watch prints, and its end. */
export function watcher(env: NodeJS.ProcessEnv, count: number, ...paths: readonly string[]) {
	const child = spawn("xenstore-watch", ["-n", String(count), ...paths], { env, stdio: ["ignore", "pipe", "inherit"] });
	let heard: () => void = () => {};
	const watching = {
		text: "",
		ended: once(child, "close"),
		async said(what: string): Promise<void> {
			while (!watching.text.includes(what)) {
				await new Promise<void>((resolve) => {
					heard = resolve;
				});
			}
		},
	};
	child.stdout.on("data", (data: Buffer) => {
		watching.text += data.toString("utf8");
		heard();
	});
	return watching;
}

/** @param env where xenstore-utils find themselves and the daemon's socket */
export async function checkStore(
	env: NodeJS.ProcessEnv,
	shell: GuestShell,
	domid: number,
	name: string,
): Promise<void> {
	const utils = async (command: string, ...args: string[]): Promise<string> =>
		(await run(`xenstore-${command}`, args, { env })).stdout;
	const fails = async (command: string, ...args: string[]): Promise<number> => {
		const failure = (await run(`xenstore-${command}`, args, { env }).catch((error: unknown) => error)) as {
			code?: number;
		};
		return failure.code ?? 0;
	};
	const home = `/local/domain/${domid}`;

	// What there is.
	expect(await utils("read", `${home}/name`, `${home}/domid`)).toBe(`${name}\n${domid}\n`);
	expect((await utils("list", "/local/domain")).split("\n")).toEqual(expect.arrayContaining(["0", String(domid)]));
	const listing = await utils("ls", "-f", home);
	expect(listing).toContain(`${home}/name = "${name}"\n`);
	expect(listing).toMatch(new RegExp(`^${home}/device/console/1/state = "4"$`, "m"));
	expect(await fails("exists", `${home}/name`)).toBe(0);
	expect(await fails("exists", `${home}/none`)).toBe(1);

	// The guest's paths are relative to its home, and it hears of no other's: what the host writes there it reads, and the other way round.
	await utils("write", `${home}/data/first`, "from the host", `${home}/data/second`, "two at once");
	expect(await shell.run(guestRead("data/first"))).toBe("from the host");
	expect(await shell.run(guestRead(`${home}/data/second`))).toBe("two at once");
	const watching = watcher(env, 2, `${home}/data/answer`);
	await watching.said("answer\n");
	expect(await shell.run(guestRequest(XsType.write, "data/answer\\000from the guest"))).toBe("OK|");
	await watching.ended;
	expect(watching.text).toBe(`${home}/data/answer\n`.repeat(2));
	expect(await utils("read", `${home}/data/answer`)).toBe("from the guest\n");
	expect(await shell.run(guestRequest(XsType.directory, "data\\000"))).toMatch(/(^|\|)first\|.*answer\|/);

	// Permissions.
	expect(await shell.run(guestRead("/local/domain/0/name"))).toBe("EACCES|");
	await utils("chmod", `${home}/data/first`, "n0");
	expect(await shell.run(guestRead("data/first"))).toBe("EACCES|");
	await utils("chmod", `${home}/data/first`, "n0", `r${domid}`);
	expect(await shell.run(guestRead("data/first"))).toBe("from the host");
	expect(await shell.run(guestRequest(XsType.write, "data/first\\000mine"))).toBe("EACCES|");
	expect(await utils("ls", "-p", `${home}/data`)).toMatch(
		new RegExp(`^first = "from the host"[ .]+\\(n0,r${domid}\\)$`, "m"),
	);

	// A transaction of the guest's, beside which the host changes what it has read, and one that nobody disturbs.
	for (const [disturbed, outcome, left] of [
		[true, "EAGAIN|", "changed"],
		[false, "OK|", "by the transaction"],
	] as const) {
		await utils("write", `${home}/data/second`, "before");
		const id = Number.parseInt(await shell.run(guestRequest(XsType.transactionStart, "\\000")), 10);
		expect(id).toBeGreaterThan(0);
		expect(await shell.run(guestRead("data/second", id))).toBe("before");
		expect(await shell.run(guestRequest(XsType.write, "data/second\\000by the transaction", id))).toBe("OK|");
		expect(await utils("read", `${home}/data/second`)).toBe("before\n");
		if (disturbed) await utils("write", `${home}/data/second`, "changed");
		expect(await shell.run(guestRequest(XsType.transactionEnd, "T\\000", id))).toBe(outcome);
		expect(await utils("read", `${home}/data/second`)).toBe(`${left}\n`);
	}

	// Quotas hold for the guest: a node of 2048 bytes is too large. The host has none.
	expect(await shell.run(guestRequest(XsType.write, "data/large\\000", 0, 3000))).toBe("ENOSPC|");
	expect(await fails("exists", `${home}/data/large`)).toBe(1);
	await utils("write", `${home}/data/large`, "x".repeat(3000));
	expect((await utils("read", `${home}/data/large`)).length).toBe(3001);

	// And it is gone again.
	await utils("rm", `${home}/data/large`, `${home}/data/first`, `${home}/data/second`, `${home}/data/answer`);
	expect(await shell.run(guestRead("data/first"))).toBe("ENOENT|");
	expect(await fails("rm", `${home}/none/none`)).toBe(1);
}
