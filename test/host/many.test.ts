/** Many guests, again and again: nothing is left of them. And guests that mean no good beside others. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DomainEnd, type GuestDomain, Host, type MachineUse } from "../../src/index.ts";
import { assembleGuest, type GuestSource, guestSources } from "../guests/build.ts";
import { assembleEchoGuest, canAssemble } from "./echo-guest.ts";

const MIB = 2 ** 20;
const GUESTS = 10;
const ROUNDS = 100;
/** What a guest is told, and how it ends by that. */
const ENDS = [
	["abc.", "poweroff"],
	["!", "crash"],
	["xyz*", "reboot"],
	["", "destroyed"],
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

	// Not in CI until it has been seen to pass: it found watches that stayed, and has not been run since those went.
	it.runIf(process.env["PARAVIRT_MANY"] !== undefined)(
		"leave nothing behind, created ten at once and destroyed a hundred times",
		async () => {
			const host = new Host({ memory: 112 * MIB });
			const before: MachineUse[] = [];
			const files: number[] = [];
			const outputs = new Set<string>();
			for (let round = 0; round < ROUNDS; round++) {
				let withDisk = 0;
				const ends: Promise<DomainEnd>[] = [];
				const domains: GuestDomain[] = [];
				for (let index = 0; index < GUESTS; index++) {
					const [input, reason] = ENDS[(index + round) % ENDS.length] as (typeof ENDS)[number];
					let output = "";
					const disks = (index + round) % 5 === 0 ? [`${join(images, `${index}.img`)},raw,xvda,rw`] : [];
					withDisk += disks.length;
					const domain = await host.createDomain(
						{ name: `g${index}`, kernel, memory: 8 * MIB, vcpus: 1 + (index % 3), weight: 128 + index, disks },
						({ console }) => {
							console.onOutput((data) => {
								output += new TextDecoder().decode(data);
							});
							console.write(input);
						},
					);
					domains.push(domain);
					if (reason === "destroyed") domain.store.watch("data", () => {});
					else ends.push(domain.ended);
					domain.ended.then((end) => {
						expect(end.reason).toBe(reason);
						outputs.add(output);
					});
				}
				expect(withDisk).toBe(2);
				await Promise.race([Promise.all(ends), host.failed]);
				if (round === 50)
					expect(host.use()).toMatchObject({ domains: GUESTS + 1, contexts: 19, devices: 2, grantsInUse: 20 });
				await Promise.all(domains.map((domain) => domain.destroy()));
				before.push(host.use());
				files.push(openFiles());
			}
			// Directories of all domains come with the first.
			expect(new Set(before.slice(1).map((use) => JSON.stringify(use))).size).toBe(1);
			expect(before[0]).toEqual(before[ROUNDS - 1]);
			expect(before[0]).toMatchObject({ domains: 1, contexts: 0, grantsInUse: 0, devices: 0, connections: 0 });
			expect(new Set(files.slice(1)).size).toBe(1);
			expect([...outputs].sort()).toEqual(["", "ABC", "XYZ"]);
			host.stop();
		},
		900_000,
	);

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
