/** The store against the model: requests of several domains, in and out of transactions, and what a watcher hears. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createStore, type WireClient } from "./machine.ts";
import { answer, heard, type ModelRequest, type ModelState } from "./model.ts";

const DOMAINS = [0, 5, 6];
const PATHS = ["/", "/a", "/a/b", "/a/b/c", "/a/d", "/e/f"];
const WATCHED = ["/", "/a", "/a/b/c", "/e"];
const ALL = [...PATHS, "/e"];
const PERMISSIONS = ["n0|", "b0|", "n0|r5|", "n0|b5|r6|", "n5|b6|", "b5|", "r6|w5|", "n6|b5|"];

type Step =
	| { readonly kind: "request"; readonly request: ModelRequest }
	| { readonly kind: "begin" }
	| { readonly kind: "end"; readonly commit: boolean };
/** A step of a domain; its requests are made in its transaction where it has one and `inside` says so. */
type Action = Step & { readonly who: number; readonly inside: boolean };

const request: fc.Arbitrary<ModelRequest> = fc.oneof(
	fc.record({
		type: fc.constantFrom("read", "mkdir", "rm", "directory", "getPerms"),
		path: fc.constantFrom(...PATHS),
		argument: fc.constant(""),
	}),
	fc.record({ type: fc.constant("write"), path: fc.constantFrom(...PATHS), argument: fc.constantFrom("", "1", "2") }),
	fc.record({
		type: fc.constant("setPerms"),
		path: fc.constantFrom(...PATHS),
		argument: fc.constantFrom(...PERMISSIONS),
	}),
);
const step: fc.Arbitrary<Step> = fc.oneof(
	{ weight: 6, arbitrary: fc.record({ kind: fc.constant("request"), request }) },
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant("begin") }) },
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant("end"), commit: fc.boolean() }) },
);
const action: fc.Arbitrary<Action> = fc
	.tuple(step, fc.constantFrom(...DOMAINS.keys()), fc.boolean())
	.map(([what, who, inside]) => ({ ...what, who, inside }));

function send(client: WireClient, { type, path, argument }: ModelRequest, id: number): string {
	const text = client.ask(type, `${path}|${argument}`, id);
	if (type !== "directory" || text.startsWith("!")) return text;
	return (text.match(/[^|]+\|/g) ?? []).sort().join("");
}

interface OpenTransaction {
	readonly id: number;
	readonly begun: ModelState;
	/** As the domain sees it. */
	state: ModelState;
	readonly done: { readonly request: ModelRequest; readonly answer: string }[];
}

function run(actions: readonly Action[]): { commits: number; conflicts: number } {
	const { client, server, store } = createStore();
	const clients = DOMAINS.map(client);
	for (const path of ["/tool", "/local", "/vm", "/libxl"]) store.remove(path);
	store.setPermissions("/", ["b0"]);
	const watcher = client(0);
	for (const path of WATCHED) watcher.ask("watch", `${path}|${path}|`);
	watcher.takeEvents();
	let state: ModelState = new Map([["/", { value: "", permissions: ["b0"] }]]);
	const open: (OpenTransaction | undefined)[] = DOMAINS.map(() => undefined);
	let [commits, conflicts] = [0, 0];
	for (const act of actions) {
		const asking = clients[act.who] as WireClient;
		const domid = DOMAINS[act.who] as number;
		const transaction = open[act.who];
		let events: readonly string[] = [];
		if (act.kind === "begin") {
			if (transaction === undefined) open[act.who] = { id: asking.begin(), begun: state, state, done: [] };
		} else if (act.kind === "end") {
			if (transaction === undefined) continue;
			open[act.who] = undefined;
			const reply = asking.ask("transactionEnd", act.commit ? "T|" : "F|", transaction.id);
			if (reply === "!EAGAIN") {
				expect(act.commit && transaction.begun !== state).toBe(true);
				conflicts++;
				continue;
			}
			expect(reply).toBe("OK|");
			if (!act.commit) continue;
			commits++;
			// As if the transaction had been made just now: the same answers, and their effects.
			const fired = new Map<string, string>();
			for (const { request: again, answer: then } of transaction.done) {
				const result = answer(state, domid, again);
				expect([again, result.answer]).toEqual([again, then]);
				state = result.state;
				for (const event of result.events) {
					const path = event.replace("=", "");
					if (!event.startsWith("=") || !fired.has(path)) fired.set(path, event);
				}
			}
			events = [...fired.values()];
		} else if (transaction !== undefined && act.inside) {
			const result = answer(transaction.state, domid, act.request);
			expect([act, send(asking, act.request, transaction.id)]).toEqual([act, result.answer]);
			transaction.state = result.state;
			transaction.done.push({ request: act.request, answer: result.answer });
		} else {
			const result = answer(state, domid, act.request);
			expect([act, send(asking, act.request, 0)]).toEqual([act, result.answer]);
			if (result.events.length > 0) state = result.state;
			events = result.events;
		}
		const told = watcher.takeEvents().map((event) => event.slice(0, -1));
		expect([act, told.sort()]).toEqual([act, heard(events, WATCHED)]);
	}
	for (const path of ALL) {
		expect([path, store.read(path)]).toEqual([path, state.get(path)?.value]);
		expect([path, store.permissions(path)]).toEqual([path, state.get(path)?.permissions]);
	}
	for (const domid of DOMAINS) {
		const owned = [...state.values()].filter(({ permissions }) => permissions[0]?.slice(1) === String(domid));
		// Beside these, /local was removed with the domains' homes.
		expect([domid, server.store.entriesOf(domid)]).toEqual([domid, owned.length]);
	}
	return { commits, conflicts };
}

describe("the store and its model", () => {
	it("agree on every answer, every event and every commit", () => {
		let [commits, conflicts] = [0, 0];
		fc.assert(
			fc.property(fc.array(action, { minLength: 40, maxLength: 80, size: "max" }), (actions) => {
				const counts = run(actions);
				commits += counts.commits;
				conflicts += counts.conflicts;
			}),
			{ numRuns: 150 },
		);
		// The test tests something: transactions that succeed beside others' changes, and some that cannot.
		expect(commits).toBeGreaterThan(150);
		expect(conflicts).toBeGreaterThan(30);
	});
});
