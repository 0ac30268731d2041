/** Verbs that show domains and the host. */
import { hostname, machine, release, version } from "node:os";
import { DaemonError } from "../../daemon/errors.ts";
import { checkCpuList } from "../../toolstack/config/cpu-list.ts";
import { type DomainInfo, type HostInfo, NO_MACHINE_DOMAIN } from "../../toolstack/info.ts";
import { UsageError } from "../errors.ts";
import { formatFields, formatList, formatRow, formatUptime, formatVcpus, right, VCPU_HEADER } from "./format.ts";
import { configJson } from "./json.ts";
import {
	JSON_OPTION,
	NoSuchDomain,
	operand,
	printList,
	type Session,
	selectDomains,
	type Verb,
	wholeNumber,
} from "./verb.ts";

const MIB = 2 ** 20;

/** Domains; if no daemon runs, domain 0 is the only one. */
async function listed(session: Session, names: readonly string[]): Promise<readonly DomainInfo[]> {
	try {
		return await selectDomains(session, names);
	} catch (error) {
		if (!(error instanceof DaemonError && error.code === "not-running")) throw error;
		session.noteLost();
		if (names.every((name) => name === "0" || name === NO_MACHINE_DOMAIN.name)) return [NO_MACHINE_DOMAIN];
		throw error;
	}
}

async function withVcpus(session: Session, names: readonly string[]) {
	const domains = (await listed(session, names)).filter(({ id }) => id !== 0);
	return Promise.all(
		domains.map(async (domain) => ({
			domain,
			vcpus: await (await session.daemon()).request("vcpus", { domain: domain.id }),
		})),
	);
}

function infoFields(info: HostInfo): (readonly [string, string | number])[] {
	const cpuMhz = info.cpuKilohertz / 1000;
	return [
		["host", hostname()],
		["release", release()],
		["version", version()],
		["machine", machine()],
		["nr_cpus", info.cpus],
		["max_cpu_id", info.maximumCpuId],
		["nr_nodes", info.nodes],
		["cores_per_socket", info.coresPerSocket],
		["threads_per_core", info.threadsPerCore],
		["cpu_mhz", cpuMhz.toFixed(3)],
		["virt_caps", "pv gnttab-v1 gnttab-v2"],
		["total_memory", Math.floor(info.totalMemory / MIB)],
		["free_memory", Math.floor(info.freeMemory / MIB)],
		["sharing_freed_memory", 0],
		["sharing_used_memory", 0],
		["outstanding_claims", 0],
		["free_cpus", 0],
		["xen_major", info.xenMajor],
		["xen_minor", info.xenMinor],
		["xen_extra", info.xenExtra],
		["xen_version", `${info.xenMajor}.${info.xenMinor}${info.xenExtra}`],
		["xen_caps", info.xenCapabilities],
		["xen_scheduler", info.scheduler],
		["xen_pagesize", info.pageSize],
		["platform_params", info.platformParameters],
		["xen_changeset", info.xenChangeset],
		["xen_commandline", ""],
		["cc_compiler", info.xenCompiler],
		["cc_compile_by", info.xenCompileBy],
		["xend_config_format", 4],
	];
}

/** One physical CPU on one node. */
function topology(info: HostInfo): string {
	const memory = `${right(Math.floor(info.totalMemory / MIB), 6)}     ${right(Math.floor(info.freeMemory / MIB), 6)}`;
	return [
		"cpu_topology           :\ncpu:    core    socket     node\n",
		"  0:       0        0        0\n",
		"device topology        :\ndevice           node\nNo device topology data available\n",
		"numa_info              :\nnode:    memsize    memfree    distances\n",
		`   0:    ${memory}      10\n`,
	].join("");
}

export const LISTING_VERBS: readonly Verb[] = [
	{
		name: "list",
		operands: "[options] [Domain]",
		count: [0, Number.POSITIVE_INFINITY],
		summary: "List information about all/some domains",
		options: [
			{ short: "l", long: "long", help: "Their configurations, as JSON." },
			{ short: "v", long: "verbose", help: "Also UUIDs, shutdown reasons and security labels." },
			{ short: "c", long: "cpupool", help: "Also the CPU pool." },
			{ short: "n", long: "numa", help: "Also NUMA node affinity." },
			{ short: "Z", long: "context", help: "Refused: there are no security labels." },
			JSON_OPTION,
		],
		async run(args, session) {
			if (args.has("Z")) {
				throw new UsageError("list: -Z is not supported: there is no XSM security policy", "Leave -Z out.");
			}
			const domains = await listed(session, args.operands);
			if (args.has("l")) {
				const guests = domains.filter(({ id }) => id !== 0);
				const configs = guests.map(async (domain) => {
					const config = await (await session.daemon()).request("config", { domain: domain.id });
					return { domid: domain.id, config: config === null ? null : configJson(config, domain) };
				});
				session.printJson(await Promise.all(configs));
			} else if (args.has("json")) session.printJson(domains);
			else session.print(formatList(domains, { verbose: args.has("v"), pool: args.has("c"), nodes: args.has("n") }));
		},
	},
	{
		name: "vcpu-list",
		operands: "[Domain, ...]",
		count: [0, Number.POSITIVE_INFINITY],
		summary: "List the VCPUs for all/some domains",
		options: [JSON_OPTION],
		async run(args, session) {
			const found = await withVcpus(session, args.operands);
			printList(session, args, found, {
				json: ({ domain: { id, name }, vcpus }) => ({ id, name, vcpus }),
				header: VCPU_HEADER,
				row: formatVcpus,
			});
		},
	},
	{
		name: "vcpu-pin",
		operands: "[option] <Domain> <VCPU|all> <Hard affinity|-|all> [Soft affinity|-|all]",
		count: [3, 4],
		summary: "Set which CPUs a VCPU can use (the host has one: number 0)",
		options: [{ short: "f", long: "force", help: "Accepted." }],
		async run(args, session) {
			const [found] = await withVcpus(session, [operand(args, 0)]);
			const vcpu = operand(args, 1);
			if (vcpu !== "all" && found?.vcpus[wholeNumber("vcpu-pin", "vCPU", vcpu)] === undefined) {
				throw new UsageError(`vcpu-pin: the domain has no vCPU ${vcpu}`, "paravirt xl vcpu-list shows them.");
			}
			for (const list of args.operands.slice(2).filter((each) => each !== "-")) {
				const problem = checkCpuList(list);
				if (problem !== undefined) throw new UsageError(`vcpu-pin: ${problem.reason}`, 'Give "all" or 0.');
			}
		},
	},
	{
		name: "vm-list",
		operands: "",
		count: [0, 0],
		summary: "List guest domains, excluding dom0, stubdoms, etc.",
		options: [JSON_OPTION],
		async run(args, session) {
			const guests = (await listed(session, [])).filter(({ id }) => id !== 0);
			printList(session, args, guests, {
				json: ({ uuid, id, name }) => ({ uuid, id, name }),
				header: "UUID                                  ID    name",
				row: ({ uuid, id, name }) => formatRow("%s  %d    %-30s", [uuid, id, name]),
			});
		},
	},
	{
		name: "domid",
		operands: "<DomainName>",
		count: [1, 1],
		summary: "Convert a domain name to domain id",
		async run(args, session) {
			const name = operand(args, 0);
			const found = (await selectDomains(session, [])).find((domain) => domain.name === name);
			if (found === undefined) throw new NoSuchDomain(name);
			session.print(String(found.id));
		},
	},
	{
		name: "domname",
		operands: "<DomainId>",
		count: [1, 1],
		summary: "Convert a domain id to domain name",
		async run(args, session) {
			const id = wholeNumber("domname", "domain id", operand(args, 0));
			const [found] = await selectDomains(session, [String(id)]);
			session.print(found?.name ?? "");
		},
	},
	{
		name: "uptime",
		operands: "[options] [Domain]",
		count: [0, Number.POSITIVE_INFINITY],
		summary: "Print uptime for all/some domains",
		options: [{ short: "s", long: "short", help: "One line each, as uptime prints it." }, JSON_OPTION],
		async run(args, session) {
			const domains = await listed(session, args.operands);
			const json = ({ id, name, uptimeSeconds }: DomainInfo) => ({ id, name, uptimeSeconds });
			const time = new Date().toTimeString().slice(0, 8);
			printList(
				session,
				args,
				domains,
				args.has("s")
					? { json, row: (each) => ` ${time} up ${formatUptime(each.uptimeSeconds, true)}, ${each.name} (${each.id})` }
					: {
							json,
							header: formatRow("%-33s %4s %s", ["Name", "ID", "Uptime"]),
							row: ({ id, name, uptimeSeconds }) => formatRow("%-33s %4d %s", [name, id, formatUptime(uptimeSeconds)]),
						},
			);
		},
	},
	{
		name: "sched-credit",
		operands: "[-d <Domain> [-w[=WEIGHT]|-c[=CAP]]] [-s] [-p CPUPOOL]",
		count: [0, 0],
		summary: "Get/set credit scheduler parameters",
		options: [
			{ short: "d", long: "domain", value: "DOMAIN", help: "The domain to show or change." },
			{ short: "w", long: "weight", value: "WEIGHT", help: "Its weight, 1 to 65535." },
			{ short: "c", long: "cap", value: "CAP", help: "Its cap in hundredths of a CPU; 0 for none." },
			{ short: "p", long: "cpupool", value: "CPUPOOL", help: "The pool: there is Pool-0." },
			{ short: "s", long: "schedparam", help: "Refused: the scheduler has no parameters of its own." },
			{ short: "t", long: "tslice_ms", value: "TSLICE", help: "Refused, as -s." },
			{ short: "r", long: "ratelimit_us", value: "RLIMIT", help: "Refused, as -s." },
			{ short: "m", long: "migration_delay_us", value: "DELAY", help: "Refused, as -s." },
			JSON_OPTION,
		],
		async run(args, session) {
			const refused = ["s", "t", "r", "m"].find((letter) => args.has(letter));
			if (refused !== undefined) {
				const reason = `sched-credit: -${refused} is not supported: the scheduler has no parameters of its own`;
				throw new UsageError(reason, "Set a domain's weight and cap: -d DOMAIN -w WEIGHT -c CAP.");
			}
			const pool = args.value("p") ?? "Pool-0";
			if (pool !== "Pool-0") throw new UsageError(`sched-credit: there is no pool ${pool}`, "Give Pool-0.");
			const domain = args.value("d");
			const [weight, cap] = [args.value("w"), args.value("c")];
			if (weight !== undefined || cap !== undefined) {
				if (domain === undefined) throw new UsageError("sched-credit: Must specify a domain.", "Give -d DOMAIN.");
				await (await session.daemon()).request("setScheduling", {
					domain,
					...(weight === undefined ? {} : { weight: wholeNumber("sched-credit", "weight", weight) }),
					...(cap === undefined ? {} : { cap: wholeNumber("sched-credit", "cap", cap) }),
				});
				return;
			}
			const domains = await listed(session, domain === undefined ? [] : [domain]);
			const guests = domains.filter(({ id }) => id !== 0);
			const pools = domain === undefined ? "Cpupool Pool-0: [sched params unavailable]\n" : "";
			printList(session, args, guests, {
				json: ({ id, name, weight, cap }) => ({ id, name, weight, cap }),
				header: pools + formatRow("%-33s %4s %6s %4s", ["Name", "ID", "Weight", "Cap"]),
				row: ({ id, name, weight, cap }) => formatRow("%-33s %4d %6d %4d", [name, id, weight, cap]),
			});
		},
	},
	{
		name: "dmesg",
		operands: "[-c]",
		count: [0, 0],
		summary: "Read and/or clear the hypervisor's message buffer",
		options: [{ short: "c", long: "clear", help: "Clear it." }],
		async run(args, session) {
			session.print(await (await session.daemon()).request("log", { clear: args.has("c") }));
		},
	},
	{
		name: "info",
		operands: "",
		count: [0, 0],
		summary: "Get information about the host",
		options: [{ short: "n", long: "numa", help: "Also topology and NUMA information." }, JSON_OPTION],
		async run(args, session) {
			const info = await (await session.daemon()).request("info", {});
			if (args.has("json")) session.printJson({ ...Object.fromEntries(infoFields(info)), ...info });
			else session.print(formatFields(infoFields(info)) + (args.has("n") ? topology(info) : ""));
		},
	},
];
