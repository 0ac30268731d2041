/**
 * All of the store's rules at once, against the model: tree, permissions, transactions with conflicts, quotas, and watches of several domains, with
 * tokens, relative paths, special events, and what each may hear. Two domains without privileges beside domain 0.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createStore, type WireClient } from "./machine.ts";
import { answer, heard, type ModelLimits, type ModelRequest, type ModelState, mayHear, owned } from "./model.ts";

const DOMAINS = [0, 5, 6];
const PATHS = ["/", "/a", "/a/b", "/a/b/c", "/e/f", "x", "x/y", "/local/domain/5/x", "/local/domain/6/x/z"];
const WATCHED = ["/", "/a", "/a/b/c", "/e", "x", "/local/domain/5", "/local/domain/6/x", "@releaseDomain"];
const VALUES = ["", "1", "two", "a value that takes room"];
const PERMISSIONS = ["n0|", "b0|", "n0|r5|", "n0|b5|r6|", "n5|b6|", "b5|", "r6|w5|", "n6|b5|", "b5|r6|w0|n5|"];
const QUOTA = { entries: 6, nodeSize: 24 + 32, permissions: 3, watches: 3, transactions: 1, transactionBytes: 30 };
const RELEASE = "@releaseDomain";

type Step =
	| { readonly kind: "request"; readonly request: ModelRequest }
	| { readonly kind: "begin" }
	| { readonly kind: "end"; readonly commit: boolean }
	| { readonly kind: "watch" | "unwatch"; readonly path: string; readonly token: string }
	| { readonly kind: "shutdown" };
/** A step of a domain; its requests are made in its transaction where it has one and `inside` says so. */
type Action = Step & { readonly who: number; readonly inside: boolean };

const path = fc.constantFrom(...PATHS);
const request: fc.Arbitrary<ModelRequest> = fc.oneof(
	fc.record({ type: fc.constantFrom("read", "mkdir", "rm", "directory", "getPerms"), path, argument: fc.constant("") }),
	fc.record({ type: fc.constant("write"), path, argument: fc.constantFrom(...VALUES) }),
	fc.record({ type: fc.constant("setPerms"), path, argument: fc.constantFrom(...PERMISSIONS) }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
	{ weight: 12, arbitrary: fc.record({ kind: fc.constant("request"), request }) },
	{ weight: 3, arbitrary: fc.record({ kind: fc.constant("begin") }) },
	{ weight: 3, arbitrary: fc.record({ kind: fc.constant("end"), commit: fc.boolean() }) },
	{
		weight: 3,
		arbitrary: fc.record({
			kind: fc.constantFrom("watch", "watch", "unwatch"),
			path: fc.constantFrom(...WATCHED),
			token: fc.constantFrom("t", "u"),
		}),
	},
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant("shutdown") }) },
);
const action: fc.Arbitrary<Action> = fc
	.tuple(step, fc.constantFrom(...DOMAINS.keys()), fc.boolean())
	.map(([what, who, inside]) => ({ ...what, who, inside }));

interface OpenTransaction {
	readonly id: number;
	readonly begun: ModelState;
	/** As the domain sees it. */
	state: ModelState;
	bytes: number;
	readonly done: { readonly request: ModelRequest; readonly answer: string }[];
}

interface ModelWatch {
	/** As it was asked for. */
	readonly asked: string;
	readonly absolute: string;
	readonly token: string;
}

/** A domain as the test plays it. */
interface Player {
	readonly domid: number;
	readonly client: WireClient;
	transaction: OpenTransaction | undefined;
	watches: ModelWatch[];
}

/** What has been seen to happen, so that the test is known to test something. */
type Counts = Record<"commits" | "conflicts" | "refused" | "unheard" | "relative" | "special", number>;

function absolute(domid: number, text: string): string | undefined {
	if (text.startsWith("/") || text.startsWith("@")) return text;
	return domid === 0 ? undefined : `/local/domain/${domid}/${text}`;
}

function run(actions: readonly Action[], counts: Counts): void {
	const { client, server, store } = createStore(QUOTA);
	const players = DOMAINS.map(
		(domid): Player => ({ domid, client: client(domid), transaction: undefined, watches: [] }),
	);
	for (const old of ["/tool", "/vm", "/libxl"]) store.remove(old);
	store.setPermissions("/", ["b0"]);
	let state: ModelState = new Map(
		["/", "/local", "/local/domain", ...["0", "5", "6"].map((domid) => `/local/domain/${domid}`)].flatMap((each) => {
			const permissions = store.permissions(each);
			return permissions === undefined ? [] : [[each, { value: store.read(each) ?? "", permissions }] as const];
		}),
	);
	for (const { client: each } of players) each.takeEvents();

	/** What each domain is to hear of events, and of a special one. */
	const checkEvents = (
		act: Action,
		events: readonly string[],
		before: ModelState,
		more: readonly string[] = [],
	): void => {
		for (const [index, { domid, client: listening, watches }] of players.entries()) {
			const expected = watches.flatMap(({ asked, absolute: watched, token }) =>
				heard(events, [watched]).flatMap((found) => {
					const about = found.slice(0, found.indexOf("|"));
					if (!mayHear(domid, about, before, state)) {
						counts.unheard++;
						return [];
					}
					if (asked !== watched) counts.relative++;
					const told = asked === watched ? about : about.slice(watched.length - asked.length);
					return `${told}|${token}|`;
				}),
			);
			if (act.who === index) expected.push(...more);
			if (act.kind === "shutdown" && domid === 0) {
				const special = watches.filter(({ absolute: watched }) => watched === RELEASE);
				counts.special += special.length;
				expected.push(...special.map(({ token }) => `${RELEASE}|${token}|`));
			}
			// Of two that say the same and wait together one is told.
			const told = [...new Set(expected)].sort();
			expect([act, domid, listening.takeEvents().sort()]).toEqual([act, domid, told]);
		}
	};

	for (const act of actions) {
		const player = players[act.who] as Player;
		const { client: asking, domid, transaction } = player;
		const before = state;
		const say = (type: Parameters<WireClient["ask"]>[0], text: string, id = 0): string => asking.ask(type, text, id);
		let events: readonly string[] = [];
		let own: readonly string[] = [];
		switch (act.kind) {
			case "begin": {
				if (transaction === undefined) {
					player.transaction = { id: asking.begin(), begun: state, state, bytes: 0, done: [] };
				} else if (domid !== 0) expect(say("transactionStart", "|")).toBe("!ENOSPC");
				break;
			}
			case "end": {
				if (transaction === undefined) break;
				player.transaction = undefined;
				const reply = say("transactionEnd", act.commit ? "T|" : "F|", transaction.id);
				const grown = owned(transaction.state, domid) - owned(transaction.begun, domid);
				const tooMany = domid !== 0 && grown > 0 && owned(state, domid) + grown > QUOTA.entries;
				if (reply === "!EAGAIN") {
					expect(act.commit && transaction.begun !== state).toBe(true);
					counts.conflicts++;
				} else if (act.commit && tooMany) expect(reply).toBe("!ENOSPC");
				else {
					expect(reply).toBe("OK|");
					if (!act.commit) break;
					counts.commits++;
					// As if the transaction had been made just now: the same answers, and their effects.
					const fired = new Map<string, string>();
					for (const { request: again, answer: then } of transaction.done) {
						if (then === "!ENOSPC") continue;
						const result = answer(state, domid, again);
						expect([again, result.answer]).toEqual([again, then]);
						state = result.state;
						for (const event of result.events) {
							const about = event.replace("=", "");
							if (!event.startsWith("=") || !fired.has(about)) fired.set(about, event);
						}
					}
					events = [...fired.values()];
				}
				break;
			}
			case "request": {
				const inside = act.inside ? transaction : undefined;
				const meant = absolute(domid, act.request.path);
				const reply = sortNames(
					act.request,
					say(act.request.type, `${act.request.path}|${act.request.argument}`, inside?.id),
				);
				if (meant === undefined) {
					expect([act, reply]).toEqual([act, "!EINVAL"]);
					break;
				}
				const seen = inside?.state ?? state;
				const others = inside === undefined ? 0 : owned(inside.state, domid) - owned(inside.begun, domid);
				const limits: ModelLimits = {
					...QUOTA,
					entries: QUOTA.entries - owned(state, domid) - others,
					bytes: inside === undefined ? Number.POSITIVE_INFINITY : QUOTA.transactionBytes - inside.bytes,
				};
				const asked = { ...act.request, path: meant };
				const result = answer(seen, domid, asked, limits);
				expect([act, reply]).toEqual([act, result.answer]);
				if (reply === "!ENOSPC") counts.refused++;
				if (inside === undefined) {
					if (result.events.length > 0) state = result.state;
					events = result.events;
				} else {
					inside.state = result.state;
					inside.bytes += result.bytes;
					inside.done.push({ request: asked, answer: result.answer });
				}
				break;
			}
			case "watch": {
				const meant = absolute(domid, act.path);
				const reply = say("watch", `${act.path}|${act.token}|`);
				const there = player.watches.some((each) => each.absolute === meant && each.token === act.token);
				if (meant === undefined) expect(reply).toBe("!EINVAL");
				else if (there) expect(reply).toBe("!EEXIST");
				else if (domid !== 0 && player.watches.length >= QUOTA.watches) {
					counts.refused++;
					expect(reply).toBe("!E2BIG");
				} else {
					expect(reply).toBe("OK|");
					player.watches.push({ asked: act.path, absolute: meant, token: act.token });
					own = [`${act.path}|${act.token}|`];
				}
				break;
			}
			case "unwatch": {
				const meant = absolute(domid, act.path);
				const left = player.watches.filter((each) => each.absolute !== meant || each.token !== act.token);
				const wanted = meant === undefined ? "!EINVAL" : left.length === player.watches.length ? "!ENOENT" : "OK|";
				expect([act, say("unwatch", `${act.path}|${act.token}|`)]).toEqual([act, wanted]);
				player.watches = left;
				break;
			}
			case "shutdown": {
				server.domainShutDown(5);
				server.resume(5);
				break;
			}
		}
		checkEvents(act, events, before, own);
	}
	for (const each of PATHS.filter((text) => text.startsWith("/"))) {
		expect([each, store.read(each)]).toEqual([each, state.get(each)?.value]);
		expect([each, store.permissions(each)]).toEqual([each, state.get(each)?.permissions]);
	}
	for (const domid of DOMAINS) expect([domid, server.store.entriesOf(domid)]).toEqual([domid, owned(state, domid)]);
	expect(server.watches.count).toBe(players.reduce((sum, { watches }) => sum + watches.length, 0));
}

/** Children in no order. */
function sortNames({ type }: ModelRequest, text: string): string {
	return type !== "directory" || text.startsWith("!") ? text : (text.match(/[^|]+\|/g) ?? []).sort().join("");
}

describe("the store's rules together", () => {
	it("are the model's", () => {
		const counts: Counts = { commits: 0, conflicts: 0, refused: 0, unheard: 0, relative: 0, special: 0 };
		fc.assert(
			fc.property(fc.array(action, { minLength: 60, maxLength: 120, size: "max" }), (actions) => run(actions, counts)),
			{ numRuns: 200 },
		);
		for (const [what, count] of Object.entries(counts)) expect(count, what).toBeGreaterThan(20);
	});
});
