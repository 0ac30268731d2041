import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DomainEnd, type DomainOptions, type GuestDomain, Host, ImageError } from "../../src/index.ts";
import { assembleEchoGuest, canAssemble } from "./echo-guest.ts";

const MIB = 2 ** 20;

describe.runIf(canAssemble)("a host", () => {
	let kernel = "";
	let directory = "";
	beforeAll(() => {
		({ kernel, directory } = assembleEchoGuest());
	});
	afterAll(() => rmSync(directory, { recursive: true }));

	const options = (): DomainOptions => ({ kernel, commandLine: "hello ", memory: 8 * MIB });

	/** Runs the echo guest with input that is there before its first instruction. */
	async function run(host: Host, input: string): Promise<{ output: string; end: DomainEnd; domain: GuestDomain }> {
		let output = "";
		const domain = await host.createDomain(options(), (created) => {
			created.console.onOutput((data) => {
				output += new TextDecoder().decode(data);
			});
			created.console.write(input);
		});
		const end = await Promise.race([domain.ended, host.failed]);
		return { output, end, domain };
	}

	it("runs a guest to its end, with its console", async () => {
		const host = new Host({ memory: 32 * MIB });
		const { output, end } = await run(host, "paravirt.");
		expect(output).toBe("hello PARAVIRT");
		expect(end).toEqual({ reason: "poweroff", crashReason: undefined, crash: undefined, action: "preserve" });
	});

	it("takes input while the guest runs", async () => {
		const host = new Host({ memory: 32 * MIB });
		let output = "";
		const domain = await host.createDomain(options(), (created) => {
			created.console.onOutput((data) => {
				output += new TextDecoder().decode(data);
				if (output === "hello ") created.console.write("abc");
				if (output.endsWith("ABC")) created.console.write(new TextEncoder().encode("."));
			});
		});
		expect((await domain.ended).reason).toBe("poweroff");
		expect(output).toBe("hello ABC");
	});

	it("reports a crash with the guest's registers", async () => {
		const { end } = await run(new Host({ memory: 32 * MIB }), "!");
		expect(end.reason).toBe("crash");
		expect(end.crash?.registers).toMatchObject({ rax: "0000000000000123" });
		expect(end.crash?.reason).toBe(end.crashReason);
	});

	it("refuses a domain that asks for another maker's processor", async () => {
		const host = new Host({ memory: 32 * MIB, processor: { vendor: "amd" } });
		const refused = host.createDomain({ ...options(), cpuVendor: "intel" });
		await expect(refused).rejects.toMatchObject({
			code: "unsupported",
			reason: "the domain asks for a processor of intel's, and this host has one of amd's for all its domains",
			remedy: expect.stringContaining("paravirt daemon start --cpu-vendor intel"),
		});
		const domain = await host.createDomain({ ...options(), cpuVendor: "amd" });
		domain.console.write(".");
		expect((await domain.ended).reason).toBe("poweroff");
	});

	it("samples a guest without changing its run", async () => {
		const runs = [];
		for (const profile of [undefined, { interval: 7 }]) {
			const host = new Host({ memory: 32 * MIB, clock: "deterministic", ...(profile && { profile }) });
			const { output } = await run(host, "paravirt.");
			const { instructions, hypercalls, exceptions, events, guestSeconds } = host.statistics();
			runs.push({ host, counts: { output, instructions, hypercalls, exceptions, events, guestSeconds } });
		}
		const [plain, sampled] = runs;
		expect(sampled?.counts).toEqual(plain?.counts);
		expect(plain?.host.profile).toBeUndefined();
		const stacks = [...(sampled?.host.profile?.stacks ?? [])];
		const samples = stacks.reduce((sum, [, count]) => sum + count, 0);
		const expected = (sampled?.counts.instructions ?? 0) / 7;
		expect(samples).toBeGreaterThan(expected * 0.9);
		expect(stacks.map(([stack]) => stack).filter((stack) => !stack.startsWith("kernel;"))).toEqual([]);
	});

	it("counts what the guest did", async () => {
		const host = new Host({ memory: 32 * MIB });
		await run(host, "abc.");
		const { hypercalls, instructions, clock, memory, guestSeconds } = host.statistics();
		// One event after the command line, one after each letter; one shutdown, and a yield for each look at empty input.
		expect(hypercalls).toMatchObject({ event_channel_op: 4, sched_op: expect.any(Number) });
		expect(instructions).toBeGreaterThan(100);
		expect(guestSeconds).toBeGreaterThan(0);
		expect(clock).toBe("real");
		expect(memory).toMatchObject({ machineBytes: 32 * MIB, guestBytes: 8 * MIB });
	});

	it("repeats a deterministic run to the instruction", async () => {
		const runs = await Promise.all(
			["first", "second"].map(async () => {
				const host = new Host({ memory: 32 * MIB, clock: "deterministic" });
				const { output } = await run(host, "the same input.");
				const { instructions, guestSeconds, hypercalls } = host.statistics();
				return { output, instructions, guestSeconds, hypercalls };
			}),
		);
		expect(runs[0]).toEqual(runs[1]);
	});

	it("gives back what a destroyed guest had, as often as one likes", async () => {
		const host = new Host({ memory: 20 * MIB });
		for (let round = 0; round < 5; round++) {
			const domain = await host.createDomain(options());
			domain.destroy();
			domain.destroy();
			expect(await domain.ended).toMatchObject({ reason: "destroyed" });
			expect(host.statistics().memory.guestBytes).toBe(0);
		}
		const { output, domain } = await run(host, "x.");
		expect(output).toBe("hello X");
		domain.destroy();
		expect(host.statistics().memory.guestBytes).toBe(0);
	});

	it("runs several guests at once", async () => {
		const host = new Host({ memory: 64 * MIB });
		const outputs = await Promise.all(["one.", "two.", "three."].map((input) => run(host, input)));
		expect(outputs.map(({ output }) => output)).toEqual(["hello ONE", "hello TWO", "hello THREE"]);
		expect(new Set(outputs.map(({ domain }) => domain.id)).size).toBe(3);
	});

	it("refuses what cannot be booted, and stays as it was", async () => {
		const host = new Host({ memory: 20 * MIB });
		const text = new TextEncoder().encode("no kernel");
		await expect(host.createDomain({ kernel: text, memory: 8 * MIB })).rejects.toThrow(ImageError);
		await expect(host.createDomain({ ...options(), memory: 1 * MIB })).rejects.toThrow(ImageError);
		await expect(host.createDomain({ ...options(), memory: 64 * MIB })).rejects.toThrow(ImageError);
		await expect(host.createDomain({ ...options(), ramdisk: new Uint8Array(9 * MIB) })).rejects.toThrow(ImageError);
		expect(host.statistics().memory.guestBytes).toBe(0);
		expect((await run(host, "ok.")).output).toBe("hello OK");
	});
});
