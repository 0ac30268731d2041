import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DomainOptions, type GuestDomain, Host, parseEndAction, ToolstackError } from "../../src/index.ts";
import { assembleEchoGuest, canAssemble } from "./echo-guest.ts";

const MIB = 2 ** 20;

/** The code of the ToolstackError that `action` ends in. */
async function codeOf(action: () => unknown): Promise<string> {
	try {
		await action();
	} catch (error) {
		if (error instanceof ToolstackError) return error.code;
		throw error;
	}
	return "done";
}

describe.runIf(canAssemble)("the life of domains", () => {
	let kernel = "";
	let directory = "";
	beforeAll(() => {
		({ kernel, directory } = assembleEchoGuest());
	});
	afterAll(() => rmSync(directory, { recursive: true }));

	const options = (more: Partial<DomainOptions> = {}): DomainOptions => ({ kernel, memory: 8 * MIB, ...more });
	const newHost = (): Host => new Host({ memory: 64 * MIB, restartInterval: 0 });

	it("finds domains by number and by name", async () => {
		const host = newHost();
		const added: string[] = [];
		const removed: string[] = [];
		host.domains.onAdded(({ name }) => added.push(name));
		host.domains.onRemoved(({ name }) => removed.push(name));
		const first = await host.createDomain(options({ name: "one" }));
		const second = await host.createDomain(options());
		expect(host.findDomain("one") === first).toBe(true);
		expect(host.findDomain(String(second.id)) === second).toBe(true);
		expect([...host.domains].map(({ name }) => name)).toEqual(["one", "guest"]);
		expect(await codeOf(() => host.findDomain("two"))).toBe("no-such-domain");
		expect(await codeOf(() => host.createDomain(options({ name: "one" })))).toBe("name-in-use");
		expect(await codeOf(() => host.createDomain(options({ name: "7" })))).toBe("invalid-name");
		expect(await codeOf(() => host.createDomain(options({ uuid: first.uuid })))).toBe("uuid-in-use");
		expect(await codeOf(() => host.createDomain(options({ uuid: "7" })))).toBe("invalid-uuid");
		first.rename("uno");
		expect(host.findDomain("uno") === first).toBe(true);
		expect(first.store.read("name")).toBe("uno");
		expect(await codeOf(() => first.rename("guest"))).toBe("name-in-use");
		first.destroy();
		second.destroy();
		expect(added).toEqual(["one", "guest"]);
		expect(removed).toEqual(["uno", "guest"]);
		expect(host.domains.size).toBe(0);
		expect(await codeOf(() => first.pause())).toBe("destroyed");
		host.stop();
	});

	it("pauses a domain and lets it go on", async () => {
		const host = newHost();
		let output = "";
		const domain = await host.createDomain(options({ commandLine: "hello ", paused: true }), ({ console }) => {
			console.onOutput((data) => {
				output += new TextDecoder().decode(data);
			});
		});
		await new Promise((resolve) => setTimeout(resolve, 50));
		expect(output).toBe("");
		expect(domain.info()).toMatchObject({ state: "--p---", cpuSeconds: 0, onlineVcpus: 1, memory: 8 * MIB });
		domain.unpause();
		domain.console.write("abc.");
		expect((await domain.ended).reason).toBe("poweroff");
		expect(output).toBe("hello ABC");
		expect(domain.info()).toMatchObject({ state: "---s--", shutdownReason: "poweroff" });
		expect(domain.info().cpuSeconds).toBeGreaterThan(0);
		expect(await codeOf(() => domain.shutdown())).toBe("not-running");
		domain.destroy();
		expect(domain.info()).toMatchObject({ state: "---s-d", memory: 0 });
		host.stop();
	});

	it("takes a request back that the guest does not react to", async () => {
		const host = newHost();
		const domain = await host.createDomain(options());
		expect(await codeOf(() => domain.shutdown({ timeout: 20 }))).toBe("no-reaction");
		expect(domain.store.read("control/shutdown")).toBe("");
		expect(await codeOf(() => domain.suspend())).toBe("unsupported");
		expect(await codeOf(() => domain.trigger("power"))).toBe("unsupported");
		expect(await codeOf(() => domain.sysrq("%"))).toBe("out-of-range");
		domain.sysrq("h");
		expect(domain.store.read("control/sysrq")).toBe("h");
		domain.destroy();
		host.stop();
	});

	it("keeps targets and numbers within their limits", async () => {
		const host = newHost();
		const sizes = { memory: 8 * MIB, maximumMemory: 16 * MIB, vcpus: 1, maximumVcpus: 3 };
		const domain = await host.createDomain(options(sizes));
		expect(domain.info()).toMatchObject({ memory: 8 * MIB, memoryTarget: 8 * MIB, staticMaximumMemory: 16 * MIB });
		expect(await codeOf(() => domain.setMemoryTarget(17 * MIB))).toBe("out-of-range");
		domain.setMemoryTarget(12 * MIB);
		expect(domain.store.read("memory/target")).toBe(String(12 * 1024));
		expect(await codeOf(() => domain.setMaximumMemory(11 * MIB))).toBe("out-of-range");
		domain.setVcpus(2);
		expect(domain.info()).toMatchObject({ wantedVcpus: 2, onlineVcpus: 1, vcpus: 3 });
		expect(domain.vcpus().map(({ state }) => state.slice(2))).toEqual(["-", "p", "p"]);
		expect(await codeOf(() => domain.setVcpus(4))).toBe("out-of-range");
		domain.setScheduling({ weight: 512, cap: 50 });
		expect(domain.info()).toMatchObject({ weight: 512, cap: 50 });
		expect(await codeOf(() => domain.setScheduling({ weight: 0 }))).toBe("out-of-range");
		domain.destroy();
		host.stop();
	});

	it("starts a domain again, and keeps the one before where it is to", async () => {
		const host = newHost();
		const seen: GuestDomain[] = [];
		const uuids: string[] = [];
		const first = await host.createDomain(
			options({ name: "again", onCrash: "rename-restart", onPoweroff: "restart" }),
			(domain) => {
				seen.push(domain);
				uuids.push(domain.uuid);
				domain.console.write(["!", ".", ""][seen.length - 1] ?? "");
			},
		);
		expect(await first.ended).toMatchObject({ reason: "crash", action: "rename-restart" });
		const second = await first.successor;
		const third = await second?.successor;
		expect(seen.map(({ id }) => id)).toEqual([first.id, second?.id, third?.id]);
		expect(first.name).toMatch(/^again-\d{8}T\d{4}Z$/);
		expect(first.isDestroyed).toBe(false);
		expect(second?.isDestroyed).toBe(true);
		const [uuid] = uuids;
		expect(uuids).toEqual([uuid, uuid, uuid]);
		expect([third?.name, third?.uuid]).toEqual(["again", uuid]);
		expect(host.store.read(`/vm/${uuid}/name`)).toBe("again");
		expect(host.store.read(`/vm/${first.uuid}/name`)).toBe(first.name);
		for (const domain of host.domains) domain.destroy();
		expect(await third?.successor).toBe(undefined);
		expect(host.info().domains).toBe(1);
		host.stop();
	});

	it("does what is wanted of one whose watchdog was not set again in time", async () => {
		const host = newHost();
		const { timers } = host.use();
		const domain = await host.createDomain(options({ onWatchdog: "rename-restart", onCrash: "destroy" }), (created) => {
			// Its successor goes another way.
			created.console.write(created.id === 1 ? "#" : "!");
		});
		expect(await domain.ended).toMatchObject({ reason: "watchdog", action: "rename-restart" });
		const next = await domain.successor;
		expect(await next?.ended).toMatchObject({ reason: "crash", action: "destroy" });
		expect([domain.isDestroyed, domain.info().uptimeSeconds >= 1]).toEqual([false, true]);
		expect(host.log).toContain("Watchdog timer fired for domain 1\n");
		await domain.destroy();
		await next?.successor;
		// Its timers went with it.
		expect(host.use().timers).toBe(timers);
		host.stop();
	});

	it("refuses actions by name", async () => {
		expect(parseEndAction("coredump-restart")).toBe("coredump-restart");
		expect(await codeOf(() => parseEndAction("soft-reset"))).toBe("unsupported");
		expect(await codeOf(() => parseEndAction("explode"))).toBe("out-of-range");
	});

	it("tells of the machine", async () => {
		const host = newHost();
		expect(host.info()).toMatchObject({ totalMemory: 64 * MIB, xenMajor: 4, xenMinor: 17, cpus: 1 });
		expect(host.info().freeMemory).toBeLessThan(64 * MIB);
		expect(host.listDomains()).toMatchObject([{ id: 0, name: "Domain-0", vcpus: 0 }]);
	});
});
