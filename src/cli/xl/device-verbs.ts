/** Verbs that give devices to running domains, take them away, and list them. */
import { DiskSpecificationError, parseDisk } from "../../toolstack/config/disk.ts";
import { resolveTarget } from "../../toolstack/config/domain-config.ts";
import { NetworkError, parseVif } from "../../toolstack/config/vif.ts";
import { UsageError } from "../errors.ts";
import { formatColumns } from "./format.ts";
import { JSON_OPTION, operand, selectDomains, type Verb } from "./verb.ts";

/** xl's columns of block-list. */
const DISK_COLUMNS = [5, 3, 6, 5, 6, 8, 30];
const DISK_HEADER = ["Vdev", "BE", "handle", "state", "evt-ch", "ring-ref", "BE-path"];

/** xl's columns of network-list. */
const NETWORK_COLUMNS = [3, 2, 17, 6, 5, 6, 15, 30];
const NETWORK_HEADER = ["Idx", "BE", "Mac Addr.", "handle", "state", "evt-ch", "tx-/rx-ring-ref", "BE-path"];

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
	{
		name: "block-list",
		operands: "<Domain(s)>",
		count: [1, Number.POSITIVE_INFINITY],
		summary: "List virtual block devices for a domain",
		options: [JSON_OPTION],
		async run(args, session) {
			const domains = await selectDomains(session, args.operands);
			const daemon = await session.daemon();
			const found = await Promise.all(
				domains.map(async ({ id }) => ({ id, disks: await daemon.request("disks", { domain: id }) })),
			);
			if (args.has("json")) {
				session.printJson(found.flatMap(({ id, disks }) => disks.map((disk) => ({ domain: id, ...disk }))));
				return;
			}
			const rows = found.flatMap(({ id, disks }) =>
				disks.map((disk) => [
					disk.devid,
					0,
					id,
					disk.state,
					disk.eventChannel ?? -1,
					disk.ringReference ?? -1,
					disk.backend,
				]),
			);
			session.print(formatColumns(DISK_COLUMNS, [DISK_HEADER, ...rows]));
		},
	},
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
	{
		name: "network-list",
		operands: "<Domain(s)>",
		count: [1, Number.POSITIVE_INFINITY],
		summary: "List virtual network interfaces for a domain",
		options: [JSON_OPTION],
		async run(args, session) {
			const domains = await selectDomains(session, args.operands);
			const daemon = await session.daemon();
			const found = await Promise.all(
				domains.map(async ({ id }) => ({ id, networks: await daemon.request("networks", { domain: id }) })),
			);
			if (args.has("json")) {
				session.printJson(found.flatMap(({ id, networks }) => networks.map((network) => ({ domain: id, ...network }))));
				return;
			}
			const rows = found.flatMap(({ networks }) =>
				networks.map((network) => [
					network.devid,
					0,
					network.mac,
					network.devid,
					network.state,
					network.transmitChannel ?? -1,
					`${network.transmitRing ?? -1}/${network.receiveRing ?? -1}`,
					network.backend,
				]),
			);
			session.print(formatColumns(NETWORK_COLUMNS, [NETWORK_HEADER, ...rows]));
		},
	},
];
