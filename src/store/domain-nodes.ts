/**
 * What a guest finds in the store when it begins: the nodes that libxl 4.17 (libxl__domain_make, libxl__build_post,
 * libxl__device_console_add) writes for a PV domain, with the same permissions.
 */
import type { StoreClient } from "./client.ts";
import { homePath } from "./path.ts";

export interface DomainNodes {
	readonly domid: number;
	readonly name: string;
	readonly uuid: string;
	/** KiB that it has, and may have at the most. */
	readonly memory: number;
	readonly maximumMemory: number;
	readonly vcpus: number;
	/** Of them, those that the guest is to bring up: the first so many. All where not given. */
	readonly onlineVcpus?: number;
	readonly storePort: number;
	readonly storeFrame: number;
	readonly consolePort: number;
	readonly consoleFrame: number;
	readonly kernel: string;
	readonly ramdisk: string | undefined;
	readonly commandLine: string;
	/** Seconds since 1970. */
	readonly startTime: number;
}

/** LIBXL_CONSOLE: bytes of output that xenconsoled keeps. */
const CONSOLE_LIMIT = 1_048_576;

/** Nodes that the guest may write: those of drivers and tools in it, and where it says what it can do. */
const GUEST_NODES = [
	"device/suspend/event-channel",
	"control/shutdown",
	"control/feature-poweroff",
	"control/feature-reboot",
	"control/feature-suspend",
	"control/sysrq",
	"data",
	"drivers",
	"feature",
	"attr",
	"error",
];
/** Nodes that it may read, as its home and what else is in that. */
const READABLE_NODES = ["cpu", "memory", "device", "control"];

/** The store before the first domain. */
export function writeInitialNodes(store: StoreClient): void {
	store.makeDirectory("/tool/xenstored");
	store.write("/local/domain/0/domid", "0");
	store.write("/local/domain/0/name", "Domain-0");
	store.write("/local/pool/0/name", "Pool-0");
}

/** Creates a node, unless it exists, with permissions of its own. */
export function createNode(store: StoreClient, path: string, permissions: readonly string[]): void {
	store.makeDirectory(path);
	store.setPermissions(path, permissions);
}

function writeAll(
	store: StoreClient,
	base: string,
	values: Readonly<Record<string, string | number | undefined>>,
): void {
	for (const [name, value] of Object.entries(values)) {
		if (value !== undefined) store.write(`${base}/${name}`, String(value));
	}
}

/** Writes a new domain's nodes, all at once. */
export function writeDomainNodes(client: StoreClient, domain: DomainNodes): void {
	client.transaction((store) => {
		const home = homePath(domain.domid);
		const vm = `/vm/${domain.uuid}`;
		const libxl = `/libxl/${domain.domid}`;
		const readable = ["n0", `r${domain.domid}`];
		for (const path of [home, vm, libxl]) store.remove(path);
		createNode(store, home, readable);
		createNode(store, vm, readable);
		createNode(store, libxl, ["n0"]);
		createNode(store, `${libxl}/device`, ["n0"]);
		writeAll(store, home, { vm, name: domain.name });
		for (const name of READABLE_NODES) createNode(store, `${home}/${name}`, readable);
		for (const name of GUEST_NODES) createNode(store, `${home}/${name}`, [`n${domain.domid}`]);
		writeAll(store, vm, { name: domain.name, uuid: domain.uuid });
		writeAll(store, home, {
			"control/platform-feature-multiprocessor-suspend": 1,
			"control/platform-feature-xs_reset_watches": 1,
		});
		writeAll(store, libxl, { type: "pv", "dm-version": "qemu_xen" });
		writeAll(store, home, {
			"memory/static-max": domain.maximumMemory,
			"memory/target": domain.memory,
			"memory/videoram": 0,
			domid: domain.domid,
			"store/port": domain.storePort,
			"store/ring-ref": domain.storeFrame,
		});
		const online = domain.onlineVcpus ?? domain.vcpus;
		for (let id = 0; id < domain.vcpus; id++) {
			store.write(`${home}/cpu/${id}/availability`, id < online ? "online" : "offline");
		}
		writeAll(store, vm, {
			"image/ostype": "linux",
			"image/kernel": domain.kernel,
			"image/ramdisk": domain.ramdisk,
			"image/cmdline": domain.commandLine === "" ? undefined : domain.commandLine,
			start_time: domain.startTime.toFixed(2),
		});
		writeConsole(store, domain, readable);
	});
}

/** The first console has no state to negotiate: xenconsoled takes ring and port from here. */
function writeConsole(store: StoreClient, { domid, consolePort, consoleFrame }: DomainNodes, readable: string[]): void {
	const frontend = `${homePath(domid)}/console`;
	const backend = backendPath(domid);
	const link = `/libxl/${domid}/device/console/0`;
	const description = { "frontend-id": domid, online: 1, state: 1, protocol: "vt100" };
	createNode(store, frontend, readable);
	writeAll(store, frontend, {
		backend,
		"backend-id": 0,
		limit: CONSOLE_LIMIT,
		type: "xenconsoled",
		output: "pty",
		tty: "",
		port: consolePort,
		"ring-ref": consoleFrame,
	});
	store.setPermissions(`${frontend}/backend-id`, [`n${domid}`, "r0"]);
	createNode(store, backend, readable);
	writeAll(store, backend, { frontend, ...description });
	createNode(store, link, ["n0"]);
	writeAll(store, link, { frontend, backend, ...description });
}

function backendPath(domid: number): string {
	return `${homePath(0)}/backend/console/${domid}/0`;
}

/** As libxl__xs_path_cleanup: directories on the way from `top` (which stays) that nobody uses any more do not stay. */
export function removeWithEmptyParents(store: StoreClient, path: string, top: string): void {
	store.remove(path);
	for (let parent = path; parent !== top; ) {
		parent = parent.slice(0, parent.lastIndexOf("/"));
		if (store.list(parent)?.length !== 0 || parent === top) return;
		store.remove(parent);
	}
}

/** Removes what {@link writeDomainNodes} wrote, and what was added since: devices too, whose back ends then let go of them. */
export function removeDomainNodes(client: StoreClient, domid: number): void {
	client.transaction((store) => {
		const vm = store.read(`${homePath(domid)}/vm`);
		if (vm !== undefined) store.remove(vm);
		const backends = `${homePath(0)}/backend`;
		for (const kind of store.list(backends) ?? []) {
			removeWithEmptyParents(store, `${backends}/${kind}/${domid}`, homePath(0));
		}
		store.remove(homePath(domid));
		store.remove(`/libxl/${domid}`);
	});
}
