import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attachDevice, detachDevice, deviceExists } from "../../../src/backends/xenbus/attach.ts";
import type { Channel, Connection } from "../../../src/backends/xenbus/connection.ts";
import type { BackendDevice } from "../../../src/backends/xenbus/device.ts";
import { type Backend, type BackendDriver, DeviceError } from "../../../src/backends/xenbus/driver.ts";
import { type BusMachine, createBusMachine, type FrontGuest } from "./machine.ts";

/** A device that does nothing but keep a record of what it is told. */
class Toy implements Backend {
	readonly record: string[] = [];
	readonly features = { "feature-toy": 1 };
	channel: Channel | undefined;
	pages: number[] = [];
	/** Set to make a disconnection take until it is called. */
	finish: (() => void) | undefined;
	slow = false;

	constructor(readonly device: BackendDevice) {}

	connect(connection: Connection): { readonly size: number } {
		this.pages = connection.mapRing(2);
		this.channel = connection.bindChannel(() => {
			if (this.record.at(-1) === "event") throw new DeviceError(22, "two events");
			this.record.push("event");
		});
		this.record.push("connect");
		return { size: 42 };
	}
	disconnect(): void | Promise<void> {
		this.record.push("disconnect");
		if (!this.slow) return;
		return new Promise((resolve) => {
			this.finish = resolve;
		});
	}
	close(): void {
		this.record.push("close");
	}
	nodeChanged(name: string): void {
		if (name === "params") this.record.push(`node ${name}`);
	}
}

class ToyDriver implements BackendDriver {
	readonly kind = "toy";
	readonly toys: Toy[] = [];
	open(device: BackendDevice): Backend {
		if (device.read("impossible") !== undefined) throw new DeviceError(19, "no such toy");
		const toy = new Toy(device);
		this.toys.push(toy);
		return toy;
	}
}

interface Setup extends BusMachine {
	readonly front: FrontGuest;
	readonly toys: readonly Toy[];
	readonly backend: string;
	state(): string | undefined;
	settle(): Promise<void>;
}

function setup(nodes: Readonly<Record<string, string>> = {}): Setup {
	const machine = createBusMachine();
	const driver = new ToyDriver();
	machine.bus.register(driver);
	const front = machine.addGuest();
	const backend = `/local/domain/0/backend/toy/${front.domid}/3`;
	attachDevice(machine.store, {
		domid: front.domid,
		kind: "toy",
		devid: 3,
		backend: nodes,
		frontend: { colour: "red" },
	});
	return {
		...machine,
		front,
		toys: driver.toys,
		backend,
		state: () => machine.store.read(`${backend}/state`),
		settle: () => new Promise((resolve) => setImmediate(resolve)),
	};
}

/** What a front end does to connect. */
function connect(front: FrontGuest): { readonly ref: number; readonly port: number } {
	const ref = front.grant(9);
	const port = front.channel();
	front.write("device/toy/3", { "ring-ref": ref, "event-channel": port, state: 3 });
	return { ref, port };
}

describe("a toolstack's nodes", () => {
	it("are libxl's, with its permissions, and a device is ready for its front end at once", () => {
		const { store, front, backend, toys } = setup();
		const { domid } = front;
		const home = `/local/domain/${domid}/device/toy/3`;
		const all = (path: string): Record<string, string | undefined> =>
			Object.fromEntries((store.list(path) ?? []).map((name) => [name, store.read(`${path}/${name}`)]));
		expect(all(home)).toEqual({ backend, "backend-id": "0", state: "1", colour: "red" });
		const described = { frontend: home, "frontend-id": String(domid), online: "1" };
		expect(all(backend)).toEqual({ ...described, state: "2", "feature-toy": "1" });
		expect(all(`/libxl/${domid}/device/toy/3`)).toEqual({ ...described, state: "1", backend });
		expect([home, backend, `/libxl/${domid}/device/toy/3`].map((path) => store.permissions(path))).toEqual([
			[`n${domid}`, "r0"],
			["n0", `r${domid}`],
			["n0"],
		]);
		expect(front.read(`${backend}/feature-toy`)).toBe("1");
		expect(front.wire.ask("write", `${backend}/state|4`)).toBe("!EACCES");
		expect(toys.length).toBe(1);
	});
});

describe("a device", () => {
	it("connects, works, closes with its front end, and comes again with the next", () => {
		const { front, toys, state, store, backend, turn } = setup();
		const [toy] = toys as [Toy];
		const { ref, port } = connect(front);
		expect([state(), store.read(`${backend}/size`)]).toEqual(["4", "42"]);
		expect(toy.pages).toEqual([front.page(9)]);
		expect([front.isFree(ref), front.isBound(port)]).toEqual([false, true]);
		front.write("device/toy/3", { state: 4 });
		// The first event stands for all that came before the channel was bound.
		turn();
		expect(toy.record).toEqual(["connect", "event"]);
		front.write("device/toy/3", { state: 5 });
		expect(state()).toBe("5");
		front.write("device/toy/3", { state: 6 });
		expect([state(), front.isFree(ref), front.isBound(port)]).toEqual(["6", true, false]);
		front.write("device/toy/3", { state: 1 });
		expect(state()).toBe("2");
		connect(front);
		expect(state()).toBe("4");
		expect(toy.record.filter((what) => what !== "event")).toEqual(["connect", "disconnect", "connect"]);
	});

	it("is given up by one front end that is replaced without a word (kexec)", () => {
		const { front, toys, state } = setup();
		const { ref, port } = connect(front);
		front.write("device/toy/3", { state: 1 });
		expect([state(), front.isFree(ref), front.isBound(port)]).toEqual(["2", true, false]);
		connect(front);
		expect(state()).toBe("4");
		expect(toys.length).toBe(1);
	});

	it("waits for work in flight before it is closed, and before it connects again", async () => {
		const { front, toys, state, settle } = setup();
		const [toy] = toys as [Toy];
		connect(front);
		toy.slow = true;
		front.write("device/toy/3", { state: 6 });
		expect(state()).toBe("5");
		front.write("device/toy/3", { state: 1 });
		expect(state()).toBe("5");
		toy.finish?.();
		await settle();
		expect(state()).toBe("2");
	});

	it("that fails says why, closes, and can be tried again", () => {
		const { front, state, store, log } = setup();
		const error = `/local/domain/0/error/backend/toy/${front.domid}/3/error`;
		front.write("device/toy/3", { "ring-ref": "a lot", state: 3 });
		expect(state()).toBe("5");
		expect(store.read(error)).toMatch(/^22 .*ring-ref is "a lot", not a number/);
		expect(log.join()).toContain("toy 1/3");
		front.write("device/toy/3", { state: 6 });
		front.write("device/toy/3", { state: 1 });
		expect([state(), store.read(error)]).toEqual(["2", undefined]);
		for (const nodes of [
			{ "ring-ref": 77, "event-channel": 5 },
			{ "ring-ref": front.grant(3), "event-channel": 999 },
			{ "ring-page-order": 3 },
			{ "ring-page-order": 1, "ring-ref0": front.grant(3) },
		]) {
			front.write("device/toy/3", { ...nodes, state: 3 });
			expect([state(), store.read(error) === undefined]).toEqual(["5", false]);
			front.write("device/toy/3", { state: 6 });
			front.write("device/toy/3", { state: 1 });
			expect(state()).toBe("2");
		}
		front.wire.ask("rm", "device/toy/3/ring-page-order|");
		const { ref } = connect(front);
		expect([state(), front.isFree(ref)]).toEqual(["4", false]);
	});

	it("maps rings of several pages", () => {
		const { front, toys } = setup();
		const refs = [4, 7, 2, 5].map((index) => front.grant(index));
		const nodes = Object.fromEntries(refs.map((ref, index) => [`ring-ref${index}`, ref]));
		front.write("device/toy/3", { ...nodes, "ring-page-order": 2, "event-channel": front.channel(), state: 3 });
		expect(toys[0]?.pages).toEqual([4, 7, 2, 5].map((index) => front.page(index)));
		front.wire.ask("rm", "device/toy/3|");
		expect(refs.every((ref) => front.isFree(ref))).toBe(true);
	});

	it("ends for an exception in its driver, and for its guest alone", () => {
		const { front, state, turn, store } = setup();
		const { port } = connect(front);
		turn();
		front.guest.event(4, port);
		expect([state(), front.isBound(port)]).toEqual(["5", false]);
		expect(store.read(`/local/domain/0/error/backend/toy/${front.domid}/3/error`)).toBe("22 two events");
		expect(front.guest.domain.shutdown).toBeUndefined();
	});

	it("that cannot be served says so", async () => {
		const { front, state, store } = setup({ impossible: "1" });
		expect(state()).toBe("5");
		expect(store.read(`/local/domain/0/error/backend/toy/${front.domid}/3/error`)).toBe("19 no such toy");
		expect(await detachDevice(store, { domid: front.domid, kind: "toy", devid: 3 })).toBe("closed");
	});

	it("tells its driver of nodes that a toolstack changes", () => {
		const { store, backend, toys } = setup();
		store.write(`${backend}/params`, "another");
		expect(toys[0]?.record).toContain("node params");
	});
});

describe("the end of a device", () => {
	it("by agreement: both ends close, all nodes go", async () => {
		const { front, store, toys, bus, backend, state } = setup();
		const { ref } = connect(front);
		const name = { domid: front.domid, kind: "toy", devid: 3 };
		const detached = detachDevice(store, name);
		expect(state()).toBe("5");
		front.write("device/toy/3", { state: 5 });
		front.write("device/toy/3", { state: 6 });
		expect(await detached).toBe("closed");
		await bus.closed(backend);
		expect(toys[0]?.record.slice(-2)).toEqual(["disconnect", "close"]);
		expect([front.isFree(ref), deviceExists(store, name), store.list("/local/domain/0/backend")]).toEqual([
			true,
			false,
			undefined,
		]);
		expect(store.list(`/local/domain/${front.domid}/device`)).toEqual([]);
		expect(await detachDevice(store, name)).toBe("absent");
	});

	it("before a front end has come needs nobody's consent; a stubborn front end is not asked twice", async () => {
		const { front, store, state, bus, backend } = setup();
		const name = { domid: front.domid, kind: "toy", devid: 3 };
		expect(await detachDevice(store, name)).toBe("closed");
		await bus.closed(backend);
		attachDevice(store, name);
		expect(state()).toBe("2");
		const { ref } = connect(front);
		expect(await detachDevice(store, name, { timeout: 1 })).toBe("forced");
		expect(front.isFree(ref)).toBe(true);
	});

	it("comes with its guest's, and leaves nothing in use", async () => {
		const { front, toys, bus, hypervisor, service, settle } = setup();
		const free = hypervisor.frames.free;
		connect(front);
		expect(service.events.state.indexOf(3)).toBeGreaterThan(0);
		front.destroy();
		await settle();
		expect(toys[0]?.record.slice(-2)).toEqual(["disconnect", "close"]);
		expect(bus.list()).toEqual([]);
		expect(service.events.state.indexOf(3)).toBe(-1);
		expect(hypervisor.frames.free).toBeGreaterThan(free);
		expect(hypervisor.frames.owned(front.domid)).toBe(0);
	});

	it("comes with that of any directory that it is in", () => {
		for (const directory of ["", "/toy", "/toy/1", "/toy/1/3"]) {
			const { front, store, bus } = setup();
			const { ref } = connect(front);
			store.remove(`/local/domain/0/backend${directory}`);
			expect([directory, bus.list().length, front.isFree(ref)]).toEqual([directory, 0, true]);
		}
	});

	it("a device of the same name waits until the last one has let go", async () => {
		const { front, store, toys, state, settle } = setup();
		connect(front);
		const [toy] = toys as [Toy];
		toy.slow = true;
		const name = { domid: front.domid, kind: "toy", devid: 3 };
		expect(await detachDevice(store, name, { force: true })).toBe("forced");
		attachDevice(store, name);
		expect([state(), toys.length]).toEqual(["1", 1]);
		toy.finish?.();
		await settle();
		expect([state(), toys.length]).toEqual(["2", 2]);
	});
});

describe("front ends that write anything", () => {
	it("never stop the bus, and never keep a page or a port in use after they have closed", () => {
		const value = fc.oneof(fc.integer({ min: 0, max: 12 }).map(String), fc.constantFrom("", "-1", "4294967296", "x"));
		const name = fc.constantFrom(
			"state",
			"state",
			"state",
			"ring-ref",
			"ring-ref1",
			"event-channel",
			"ring-page-order",
		);
		fc.assert(
			fc.property(fc.array(fc.tuple(name, value), { maxLength: 40 }), (writes) => {
				const { front, state, service } = setup();
				for (const ref of [8, 9]) front.grantAs(ref, ref);
				front.channel();
				for (const [node, text] of writes) front.wire.ask("write", `device/toy/3/${node}|${text}`);
				front.wire.ask("rm", "device/toy/3/ring-page-order|");
				front.write("device/toy/3", { state: 6 });
				expect([front.isFree(8), front.isFree(9), service.events.state.indexOf(3)]).toEqual([true, true, -1]);
				front.write("device/toy/3", { state: 1 });
				expect(state()).toBe("2");
				connect(front);
				expect(state()).toBe("4");
			}),
			{ numRuns: 60 },
		);
	});
});
