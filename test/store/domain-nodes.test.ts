import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { StoreClient } from "../../src/store/client.ts";
import { removeDomainNodes, writeDomainNodes, writeInitialNodes } from "../../src/store/domain-nodes.ts";
import { StoreServer } from "../../src/store/server.ts";

/**
 * `xenstore-ls -fp` on real Xen 4.17 after `xl create -p` of a PV domain of 16 MiB and two vCPUs. Names of what differs each time are
 * put for it; left out are the terminal's name, which is xenconsoled's, and what dom0's kernel says of itself.
 */
const REAL = readFileSync(new URL("libxl-nodes.txt", import.meta.url), "utf8");

function listing(store: StoreClient, path = ""): string[] {
	return (store.list(path || "/") ?? []).flatMap((name) => {
		const child = `${path}/${name}`;
		const permissions = store.permissions(child)?.join(",");
		return [`${child} = "${store.read(child)}" (${permissions})`, ...listing(store, child)];
	});
}

const sorted = (lines: readonly string[]): string[] => [...lines].sort();

describe("a PV domain's nodes", () => {
	const store = new StoreClient(new StoreServer({ domainExists: () => true, connect: () => undefined, log: () => {} }));
	writeInitialNodes(store);
	const before = listing(store);
	const describeDomain = (): void =>
		writeDomainNodes(store, {
			domid: 1,
			name: "d1",
			uuid: "UUID",
			memory: 16384,
			maximumMemory: 16384,
			vcpus: 2,
			storePort: 1,
			storeFrame: 258570,
			consolePort: 2,
			consoleFrame: 258571,
			kernel: "/guests/echo",
			ramdisk: undefined,
			commandLine: "hello",
			startTime: 1795345998.4,
		});

	it("are those that libxl writes", () => {
		describeDomain();
		const ours = listing(store).map((line) =>
			line.replace(/(ring-ref = ")\d+/, "$1FRAME").replace(/(start_time = ")[\d.]+/, "$1TIME"),
		);
		expect(sorted(ours)).toEqual(sorted(REAL.trimEnd().split("\n")));
	});

	it("leave nothing behind but the directories of all domains", () => {
		removeDomainNodes(store, 1);
		const left = listing(store).filter((line) => !before.includes(line));
		expect(left).toEqual(['/vm = "" (n0)', '/libxl = "" (n0)']);
	});
});
