/** Verbs that give devices to running domains, take them away, and list them. */

import type { DaemonClient } from "../../daemon/client.ts";
import { DiskSpecificationError, parseDisk } from "../../toolstack/config/disk.ts";
import { resolveTarget } from "../../toolstack/config/domain-config.ts";
import { NetworkError, parseVif } from "../../toolstack/config/vif.ts";
import type { ChannelInformation } from "../../toolstack/consoles.ts";
import type { DiskInformation } from "../../toolstack/disks.ts";
import type { NetworkInformation } from "../../toolstack/network-interfaces.ts";
import { UsageError } from "../errors.ts";
import { type Cell, formatRow } from "./format.ts";
import { JSON_OPTION, operand, printList, selectDomains, type Verb } from "./verb.ts";

/** A verb that lists devices of a kind: a row of xl's columns each, or JSON. */
interface Listing<T> {
	readonly name: string;
	readonly summary: string;
	readonly devices: (daemon: DaemonClient, domain: number) => Promise<readonly T[]>;
	readonly header: string;
	/** xl's, for printf. */
	readonly format: string;
	readonly row: (device: T, domain: number) => readonly Cell[];
}

function listing<T extends object>({ name, summary, devices, header, format, row }: Listing<T>): Verb {
	return {
		name,
		operands: "<Domain(s)>",
		count: [1, Number.POSITIVE_INFINITY],
		summary,
		options: [JSON_OPTION],
		async run(args, session) {
			const domains = await selectDomains(session, args.operands);
			const daemon = await session.daemon();
			const found = await Promise.all(
				domains.map(async ({ id }) => (await devices(daemon, id)).map((device) => ({ domain: id, device }))),
			);
			printList(session, args, found.flat(), {
				json: ({ domain, device }) => ({ domain, ...device }),
				header,
				row: ({ domain, device }) => formatRow(format, row(device, domain)),
			});
		},
	};
}

const BLOCK_LIST = listing<DiskInformation>({
	name: "block-list",
	summary: "List virtual block devices for a domain",
	devices: (daemon, domain) => daemon.request("disks", { domain }),
	header: formatRow("%-5s %-3s %-6s %-5s %-6s %-8s %-30s", [
		"Vdev",
		"BE",
		"handle",
		"state",
		"evt-ch",
		"ring-ref",
		"BE-path",
	]),
	format: "%-5d %-3d %-6d %-5d %-6d %-8d %-30s",
	row: ({ devid, state, eventChannel = -1, ringReference = -1, backend }, domain) => [
		devid,
		0,
		domain,
		state,
		eventChannel,
		ringReference,
		backend,
	],
});

const NETWORK_LIST = listing<NetworkInformation>({
	name: "network-list",
	summary: "List virtual network interfaces for a domain",
	devices: (daemon, domain) => daemon.request("networks", { domain }),
	header: formatRow("%-3s %-2s %-17s %-6s %-5s %-6s %5s/%-5s %-30s", [
		"Idx",
		"BE",
		"Mac Addr.",
		"handle",
		"state",
		"evt-ch",
		"tx-",
		"rx-ring-ref",
		"BE-path",
	]),
	format: "%-3d %-2d %s %6d %5d %6d %5d/%-11d %-30s",
	row: ({ devid, mac, state, transmitChannel = -1, transmitRing = -1, receiveRing = -1, backend }) => [
		devid,
		0,
		mac,
		devid,
		state,
		transmitChannel,
		transmitRing,
		receiveRing,
		backend,
	],
});

/** xl leaves a socket's path out; it is shown like a terminal's. */
const CHANNEL_LIST = listing<ChannelInformation>({
	name: "channel-list",
	summary: "List virtual channel devices for a domain",
	devices: (daemon, domain) => daemon.request("channels", { domain }),
	header: formatRow("%-3s %-2s %-5s %-6s %8s %-10s %-30s", ["Idx", "BE", "state", "evt-ch", "ring-ref", "connection"]),
	format: "%-3d %-2d %-5d %-6d %-8d %-10s %-30s ",
	row: ({ devid, state, eventChannel = -1, ringReference = -1, connection, path }) => [
		devid,
		0,
		state,
		eventChannel,
		ringReference,
		connection,
		path,
	],
});

export const DEVICE_VERBS: readonly Verb[] = [
	{
		name: "block-attach",
		operands: "<Domain> <disk-spec-component(s)>...",
		count: [2, Number.POSITIVE_INFINITY],
		summary: "Create a new virtual block device",
		async run(args, session) {
			const specification = args.operands.slice(1).join(",");
			try {
				const parsed = parseDisk(specification);
				const disk = { ...parsed, target: resolveTarget(parsed.target, (path) => session.absolute(path)) };
				if (session.dryRun) session.printJson(disk);
				else await (await session.daemon()).request("attachDisk", { domain: operand(args, 0), disk });
			} catch (error) {
				if (!(error instanceof DiskSpecificationError)) throw error;
				throw new UsageError(`block-attach: "${specification}": ${error.reason}`, `${error.remedy}.`);
			}
		},
	},
	{
		name: "block-detach",
		operands: "[option] <Domain> <DevId>",
		count: [2, 2],
		summary: "Destroy a domain's virtual block device",
		options: [{ long: "force", help: "Take it away without asking the guest." }],
		async run(args, session) {
			const [domain, disk] = [operand(args, 0), operand(args, 1)];
			await (await session.daemon()).request("detachDisk", { domain, disk, force: args.has("force") });
		},
	},
	BLOCK_LIST,
	{
		name: "network-attach",
		operands: "<Domain> [type=<type>] [mac=<mac>] [bridge=<bridge>] [ip=<ip>] [vifname=<name>] [rate=<rate>] ...",
		count: [1, Number.POSITIVE_INFINITY],
		summary: "Create a new virtual network device",
		async run(args, session) {
			const specification = args.operands.slice(1).join(",");
			try {
				const network = parseVif(specification);
				if (session.dryRun) session.printJson(network);
				else await (await session.daemon()).request("attachNetwork", { domain: operand(args, 0), network });
			} catch (error) {
				if (!(error instanceof NetworkError)) throw error;
				throw new UsageError(`network-attach: "${specification}": ${error.reason}`, `${error.remedy}.`);
			}
		},
	},
	{
		name: "network-detach",
		operands: "[option] <Domain> <DevId|mac>",
		count: [2, 2],
		summary: "Destroy a domain's virtual network device",
		options: [{ long: "force", help: "Take it away without asking the guest." }],
		async run(args, session) {
			const [domain, network] = [operand(args, 0), operand(args, 1)];
			await (await session.daemon()).request("detachNetwork", { domain, network, force: args.has("force") });
		},
	},
	NETWORK_LIST,
	CHANNEL_LIST,
];
