/** Many guests, again and again: nothing is left of them. And guests that mean no good beside others. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DomainEnd, type DomainOptions, type GuestDomain, Host, type MachineUse } from "../../src/index.ts";
import { assembleGuest, type GuestSource, guestSources } from "../guests/build.ts";
import { assembleEchoGuest, canAssemble } from "./echo-guest.ts";

const MIB = 2 ** 20;
const GUESTS = 10;
/** A hundred take two minutes: by PARAVIRT_MANY=100. */
const ROUNDS = Number(process.env["PARAVIRT_MANY"] ?? 6);
/** What a guest is told, how it ends by that, and what it has said. */
const ENDS = [
	["abc.", "poweroff", "ABC"],
	["!", "crash", ""],
	["xyz*", "reboot", "XYZ"],
	["", "destroyed", ""],
] as const;

function openFiles(): number {
	return readdirSync("/proc/self/fd").length;
}

describe.runIf(canAssemble)("many guests", () => {
	let kernel = "";
	let directory = "";
	let images = "";
	beforeAll(() => {
		({ kernel, directory } = assembleEchoGuest());
		images = mkdtempSync(join(tmpdir(), "paravirt-many-"));
		for (let index = 0; index < GUESTS; index++) writeFileSync(join(images, `${index}.img`), new Uint8Array(MIB));
	});
	afterAll(() => {
		for (const each of [directory, images]) rmSync(each, { recursive: true });
	});

	it("leave nothing behind, created ten at once and destroyed again and again", async () => {
		const host = new Host({ memory: 112 * MIB });
		const uses: MachineUse[] = [];
		const files: number[] = [];
		const outputs: string[] = [];
		for (let round = 0; round < ROUNDS; round++) {
			const domains: GuestDomain[] = [];
			const ends: Promise<DomainEnd>[] = [];
			const open = openFiles();
			for (let index = 0; index < GUESTS; index++) {
				const [input, reason, output] = ENDS[(index + round) % ENDS.length] as (typeof ENDS)[number];
				let said = "";
				// Two of ten have each.
				const devices: Partial<DomainOptions>[] = [
					{ disks: [`${join(images, `${index}.img`)},raw,xvda,rw`] },
					{ networks: ["bridge=lan"], shares: [`tag=data,path=${images}`] },
					{ networks: [""], furtherConsoles: 1 },
				];
				const domain = await host.createDomain(
					{
						...{ name: `g${index}`, kernel, memory: 8 * MIB, vcpus: 1 + (index % 3), weight: 128 + index },
						...devices[(index + round) % 5],
					},
					({ console }) => {
						console.onOutput((data) => {
							said += new TextDecoder().decode(data);
						});
						console.write(input);
					},
				);
				domains.push(domain);
				const end = domain.ended.then((end) => {
					expect([end.reason, said]).toEqual([reason, output]);
					outputs.push(output);
					return end;
				});
				if (reason === "destroyed") domain.store.watch("data", () => {});
				else ends.push(end);
			}
			await Promise.race([Promise.all(ends), host.failed]);
			// The counts do count: a disk and a folder are a file each; store and console are a grant each of all.
			expect(host.use()).toMatchObject({ domains: GUESTS + 1, contexts: 19, devices: 10, grantsInUse: 20 });
			expect(openFiles() - open).toBe(4);
			await Promise.all(domains.map((domain) => domain.destroy()));
			uses.push(host.use());
			files.push(openFiles());
		}
		expect(uses[0]).toMatchObject({ domains: 1, contexts: 0, grantsInUse: 0, devices: 0, connections: 0 });
		// Directories of all domains, and the network's timers, come with the first.
		expect(new Set(uses.map((use) => JSON.stringify(use))).size).toBe(1);
		expect(new Set(files).size).toBe(1);
		expect(outputs.length).toBe(ROUNDS * GUESTS);
		host.stop();
	}, 900_000);

	it("are not disturbed by one that calls with whatever it likes", async () => {
		const source = guestSources().find(({ name }) => name === "hostile") as GuestSource;
		const hostile = assembleGuest(source, directory);
		const host = new Host({ memory: 112 * MIB });
		const empty = host.use();
		let answers = "";
		const good = await host.createDomain({ name: "good", kernel, memory: 8 * MIB }, ({ console }) => {
			console.onOutput((data) => {
				answers += new TextDecoder().decode(data);
			});
		});
		const bad = await Promise.all(
			["one", "two"].map((name) => host.createDomain({ name, kernel: hostile, memory: 16 * MIB })),
		);
		for (const letter of ["a", "b", "c"]) {
			good.console.write(letter);
			await new Promise((resolve) => setTimeout(resolve, 20));
		}
		for (const domain of bad) await Promise.race([domain.ended, host.failed]);
		good.console.write("d.");
		expect((await good.ended).reason).toBe("poweroff");
		expect(answers).toBe("ABCD");
		for (const domain of [good, ...bad]) await domain.destroy();
		expect({ ...host.use(), storeNodes: 0 }).toEqual({ ...empty, storeNodes: 0 });
		host.stop();
	});
});
