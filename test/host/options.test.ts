/** The library's options, as a program without types gets them wrong; and what a console's listener is told at the end. */
import { rmSync } from "node:fs";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { type DomainEnd, type DomainOptions, Host, type HostOptions } from "../../src/index.ts";
import { assembleEchoGuest, canAssemble } from "./echo-guest.ts";

const MIB = 2 ** 20;

/** What every error for a user of the library has. */
const explained = {
	code: expect.any(String),
	reason: expect.stringMatching(/\S/),
	remedy: expect.stringMatching(/\S/),
};

describe("options of a Host", () => {
	const wrong: readonly (readonly [options: unknown, reason: RegExp, remedy: RegExp])[] = [
		[undefined, /there are no options/, /object/],
		[{}, /memory is missing/, /512M/],
		[{ memory: -1 }, /memory cannot be -1/, /512M/],
		[{ memory: 0 }, /memory cannot be 0/, /512M/],
		[{ memory: Number.NaN }, /memory cannot be/, /512M/],
		[{ memory: "much" }, /memory cannot be "much"/, /512M/],
		[{ memory: "64M", clok: "real" }, /no option "clok"/, /Did you mean clock/],
		[{ memory: "64M", clock: "sundial" }, /clock cannot be "sundial"/, /real, deterministic/],
	];
	it.each(wrong)("%j", (options, reason, remedy) => {
		expect(() => new Host(options as HostOptions)).toThrow(
			expect.objectContaining({
				...explained,
				code: "invalid-option",
				reason: expect.stringMatching(reason),
				remedy: expect.stringMatching(remedy),
			}),
		);
	});

	it("of more memory than a machine can have", () => {
		expect(() => new Host({ memory: "64G" })).toThrow(
			expect.objectContaining({ ...explained, code: "not-enough-memory" }),
		);
	});
});

describe.runIf(canAssemble)("options of a domain", () => {
	const { directory, kernel } = canAssemble ? assembleEchoGuest() : { directory: "", kernel: "" };
	const host = new Host({ memory: "64M" });
	afterAll(() => {
		host.stop();
		if (directory !== "") rmSync(directory, { recursive: true });
	});
	afterEach(() => expect(host.domains.size).toBe(0));

	const good = { kernel, memory: "8M" };
	const wrong: readonly (readonly [options: unknown, code: string, reason: RegExp, remedy: RegExp])[] = [
		[undefined, "invalid-option", /there are no options/, /object/],
		[{ kernel }, "invalid-option", /memory is missing/, /512M/],
		[{ memory: "8M" }, "invalid-option", /kernel is missing/, /debianImages/],
		[{ ...good, kernel: "" }, "invalid-option", /kernel cannot be ""/, /file's name/],
		[{ ...good, kernel: 7 }, "invalid-option", /kernel cannot be 7/, /Uint8Array/],
		[{ ...good, memory: -1 }, "invalid-option", /memory cannot be -1/, /512M/],
		[{ ...good, memory: "8 stone" }, "invalid-option", /memory cannot be "8 stone"/, /512M/],
		[{ ...good, maximumMemory: "4M" }, "out-of-range", /less than the memory/, /larger/],
		[{ ...good, disk: ["a,raw,xvda,r"] }, "invalid-option", /no option "disk"/, /Did you mean disks/],
		[{ ...good, constructor: 1 }, "invalid-option", /no option "constructor"/, /options are/],
		[{ ...good, disks: "a,raw,xvda,r" }, "invalid-option", /disks cannot be/, /an array/],
		[{ ...good, vcpus: 1.5 }, "invalid-option", /vcpus cannot be 1.5/, /whole number/],
		[{ ...good, vcpus: 0 }, "out-of-range", /0 of 0 vCPUs/, /at least one/],
		[{ ...good, paused: "yes" }, "invalid-option", /paused cannot be "yes"/, /true or false/],
		[{ ...good, onCrash: "explode" }, "invalid-option", /onCrash cannot be "explode"/, /destroy/],
		[{ ...good, weight: 0 }, "out-of-range", /weight/, /./],
		[{ ...good, kernel: "/nosuch/vmlinuz" }, "not-readable", /no such file/, /path/],
		[{ ...good, ramdisk: "/nosuch/initrd" }, "not-readable", /no such file/, /path/],
		[{ ...good, ramdisk: directory }, "not-readable", /directory/, /path/],
		[{ ...good, disks: ["nonsense,,,,"] }, "invalid-specification", /./, /./],
		[{ ...good, disks: ["/nosuch/disk,raw,xvda,r"] }, "cannot-open", /no such file/, /./],
		[{ ...good, networks: ["nonsense"] }, "invalid-specification", /./, /./],
		[{ ...good, shares: ["tag=a,path=/nosuch"] }, "invalid-specification", /./, /./],
		[{ ...good, channels: ["nonsense"] }, "invalid-specification", /./, /./],
	];
	it.each(wrong)("%j: %s", async (options, code, reason, remedy) => {
		const failure = await host.createDomain(options as DomainOptions).catch((error: unknown) => error);
		expect(failure).toMatchObject({
			...explained,
			code,
			reason: expect.stringMatching(reason),
			remedy: expect.stringMatching(remedy),
		});
	});

	it("take memory as the command does", async () => {
		const sizes: readonly (readonly [text: string, mebibytes: number])[] = [
			["8M", 8],
			["8192K", 8],
			["12", 12],
			["0.01G", 10],
		];
		for (const [memory, mebibytes] of sizes) {
			const domain = await host.createDomain({ kernel, memory, paused: true });
			expect(Math.floor(domain.info().memory / MIB)).toBe(mebibytes);
			await domain.destroy();
		}
	});

	const ends: readonly (readonly [typed: string, reason: string])[] = [
		[".", "poweroff"],
		["!", "crash"],
	];
	it.each(ends)(
		"and a listener on the console hears of the end after the last output: %s is %s",
		async (typed, reason) => {
			const heard: string[] = [];
			let last: DomainEnd | undefined;
			const domain = await host.createDomain(good, ({ console }) => {
				console.onOutput((data) => heard.push(new TextDecoder().decode(data)));
				console.onEnd((end) => {
					last = end;
					heard.push("end");
				});
				console.onEnd(() => heard.push("never"))();
				console.write(`a${typed}`);
			});
			await domain.ended;
			await new Promise(setImmediate);
			expect(last).toMatchObject({ reason });
			expect(heard.join("")).toBe("Aend");
			const late = await new Promise<DomainEnd>((resolve) => domain.console.onEnd(resolve));
			expect(late.reason).toBe(reason);
			await domain.destroy();
		},
	);

	it("also where the domain is destroyed", async () => {
		const domain = await host.createDomain(good);
		const end = new Promise<DomainEnd>((resolve) => domain.console.onEnd(resolve));
		await domain.destroy();
		expect(await end).toMatchObject({ reason: "destroyed" });
	});
});
