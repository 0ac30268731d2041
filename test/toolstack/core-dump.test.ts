import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DumpOptions, type GuestDomain, Host } from "../../src/index.ts";
import { assembleEchoGuest, canAssemble } from "../host/echo-guest.ts";

const MIB = 2 ** 20;
const PAGE = 4096;
const MEMORY = 8 * MIB;
/** Where echo.S is linked, and mapped. */
const KERNEL = 0x10_0000;
const hasGdb = spawnSync("gdb", ["--version"]).status === 0;

interface Section {
	readonly name: string;
	readonly offset: number;
	readonly size: number;
}

/** Sections as readelf tells them, with their places in the file. */
function sectionsOf(file: string): Map<string, Section> {
	const text = execFileSync("readelf", ["-SW", file], { encoding: "utf8" });
	const sections = new Map<string, Section>();
	for (const match of text.matchAll(/\] (\S+) +\S+ +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+)/g)) {
		const [, name, offset, size] = match as unknown as [string, string, string, string];
		sections.set(name, { name, offset: Number.parseInt(offset, 16), size: Number.parseInt(size, 16) });
	}
	return sections;
}

/** Bytes of the kernel's code, as its file has them. */
function codeOf(kernel: string): Buffer {
	const file = readFileSync(kernel);
	const text = sectionsOf(kernel).get(".text") as Section;
	return file.subarray(text.offset, text.offset + 64);
}

describe.runIf(canAssemble)("a core dump", () => {
	let kernel = "";
	let directory = "";
	beforeAll(() => {
		({ kernel, directory } = assembleEchoGuest());
	});
	afterAll(() => rmSync(directory, { recursive: true }));

	/** Dumps a guest that has said "hello " and waits for input. */
	async function dump(options: DumpOptions = {}): Promise<string> {
		const file = join(directory, `core-${options.format}`);
		const host = new Host({ memory: 32 * MIB });
		let said: () => void = () => {};
		const saying = new Promise<void>((resolve) => {
			said = resolve;
		});
		const domain = await host.createDomain({ kernel, commandLine: "hello ", memory: MEMORY, vcpus: 2 }, ({ console }) =>
			console.onOutput(said),
		);
		await saying;
		const pieces: Uint8Array[] = [];
		await domain.dumpCore((piece) => {
			expect(domain.info().paused).toBe(true);
			pieces.push(piece);
		}, options);
		expect(domain.info().paused).toBe(false);
		domain.destroy();
		host.stop();
		writeFileSync(file, Buffer.concat(pieces));
		return file;
	}

	it("is in Xen's format", async () => {
		const file = await dump();
		const header = execFileSync("readelf", ["-hW", file], { encoding: "utf8" });
		expect(header).toMatch(/Type: +CORE/);
		expect(header).toMatch(/Number of program headers: +0/);
		const sections = sectionsOf(file);
		const bytes = readFileSync(file);
		const data = (name: string): Buffer => {
			const { offset, size } = sections.get(name) as Section;
			return bytes.subarray(offset, offset + size);
		};
		// readelf shows notes of core files by their program headers only.
		const notes = data(".note.Xen");
		const types: [number, string, number][] = [];
		for (let at = 0; at < notes.length; ) {
			const [nameSize, size] = [notes.readUInt32LE(at), notes.readUInt32LE(at + 4)];
			types.push([notes.readUInt32LE(at + 8), notes.toString("latin1", at + 12, at + 11 + nameSize), size]);
			at += 12 + nameSize + size;
		}
		const sizes = [0, 32, 8 + 8 + 16 + 144 + 1024 + 64 + 8 + 8, 8];
		expect(types).toEqual(sizes.map((size, index) => [0x2000000 + index, "Xen", size]));
		// Name and header of the first note, then those of the second.
		const description = data(".note.Xen").subarray(16 + 16);
		const [magic, vcpus, pages, pageSize] = [0, 8, 16, 24].map((at) => Number(description.readBigUInt64LE(at)));
		expect([magic, vcpus, pages, pageSize]).toEqual([0xf00febed, 2, MEMORY / PAGE, PAGE]);
		expect(data(".xen_pages").length).toBe(MEMORY);
		const { offset } = sections.get(".xen_pages") as Section;
		expect(offset % PAGE).toBe(0);
		const p2m = data(".xen_p2m");
		const pfns = Array.from({ length: MEMORY / PAGE }, (_, index) => Number(p2m.readBigUInt64LE(index * 16)));
		expect(pfns).toEqual(Array.from(pfns, (_, index) => index));
		const at = pfns.indexOf(KERNEL / PAGE) * PAGE;
		const code = codeOf(kernel);
		expect(data(".xen_pages").subarray(at, at + code.length)).toEqual(code);
		// vcpu_guest_context: RIP behind 512 bytes of FXSAVE, the flags and sixteen words; in kernel mode, online.
		const states = data(".xen_prstatus");
		expect(states.length / 2).toBe(5168);
		const rip = Number(states.readBigUInt64LE(512 + 8 + 16 * 8));
		expect(rip - KERNEL).toBeGreaterThan(0);
		expect(rip - KERNEL).toBeLessThan(PAGE);
		expect(states.readUInt32LE(512) & 0x24).toBe(0x24);
		expect(states.readUInt32LE(5168 + 512) & 0x20).toBe(0);
		expect(data(".xen_shared_info").length).toBe(PAGE);
	});

	it.runIf(hasGdb)("opens in gdb, with registers and memory by virtual address", async () => {
		const file = await dump({ format: "gdb" });
		const commands = ["info threads", "p/x $rip", "p $cs", `x/16xb ${KERNEL}`, "thread 2", "p/x $rip"];
		const args = ["-nx", "-batch", "-core", file, ...commands.flatMap((command) => ["-ex", command])];
		const { stdout, stderr } = spawnSync("gdb", args, { encoding: "utf8" });
		const code = codeOf(kernel);
		const rip = Number(/\$1 = (0x[0-9a-f]+)/.exec(stdout)?.[1]);
		expect(rip - KERNEL, stdout + stderr).toBeGreaterThan(0);
		expect(rip - KERNEL).toBeLessThan(PAGE);
		expect(stdout).toContain(`$2 = ${0xe033}`);
		const shown = [...stdout.matchAll(/\t0x([0-9a-f]{2})/g)].map((match) => Number.parseInt(match[1] as string, 16));
		expect(shown).toEqual([...code.subarray(0, 16)]);
		expect(stdout).toMatch(/\$3 = 0x0/);
	});

	it("is written when a domain has crashed, before it is started again", async () => {
		const cores = join(directory, "cores");
		execFileSync("mkdir", [cores]);
		const host = new Host({ memory: 32 * MIB, coreDirectory: cores, restartInterval: 0 });
		const seen: GuestDomain[] = [];
		const options = { name: "dumped", kernel, memory: MEMORY, onCrash: "coredump-restart" } as const;
		const first = await host.createDomain(options, (domain) => {
			seen.push(domain);
			domain.console.write(seen.length === 1 ? "!" : ".");
		});
		expect(await first.ended).toMatchObject({ reason: "crash", action: "coredump-restart" });
		const second = await first.successor;
		expect((await second?.ended)?.reason).toBe("poweroff");
		const file = join(cores, "dumped.core");
		const { offset, size } = sectionsOf(file).get(".xen_pages") as Section;
		expect([size, readFileSync(file).length]).toEqual([MEMORY, offset + size]);
		expect(first.isDestroyed).toBe(true);
		// Where there is no directory, the domain ends all the same.
		const poor = new Host({ memory: 32 * MIB, restartInterval: 0 });
		const doomed = await poor.createDomain({ ...options, onCrash: "coredump-destroy" }, ({ console }) =>
			console.write("!"),
		);
		expect(await doomed.successor).toBe(undefined);
		expect(poor.log).toContain("no core dump of domain 1 (dumped)");
		expect(existsSync(join(cores, "undefined.core"))).toBe(false);
		for (const each of [host, poor]) each.stop();
	});
});
