/**
 * What a toolstack does to give a guest a device, and to take it away: the nodes of both ends and of the toolstack itself, as libxl
 * writes them (libxl__device_generic_add, libxl__device_destroy), each time in one transaction.
 */
import type { StoreClient } from "../../store/client.ts";
import { createNode, removeWithEmptyParents } from "../../store/domain-nodes.ts";
import { homePath } from "../../store/path.ts";
import { waitUntil } from "../../store/wait.ts";
import type { Nodes } from "./driver.ts";
import { parseState, XenbusState } from "./state.ts";

/** A device's name: which of which guest. */
export interface DeviceName {
	readonly domid: number;
	/** The directory's name below the guest's `device/`. */
	readonly kind: string;
	readonly devid: number;
	/** The directory's name below `backend/`, where it is another (libxl's qdisk). */
	readonly backendKind?: string;
	/** The domain that serves it; 0 by default. */
	readonly backendDomid?: number;
}

export interface DeviceDescription extends DeviceName {
	/** Nodes of the front end beside `backend`, `backend-id` and `state`. */
	readonly frontend?: Nodes;
	/** Nodes of the back end beside `frontend`, `frontend-id`, `online` and `state`. */
	readonly backend?: Nodes;
}

export interface DevicePaths {
	readonly frontend: string;
	readonly backend: string;
	/** The toolstack's own. */
	readonly libxl: string;
}

export function devicePaths(name: DeviceName): DevicePaths {
	const { domid, kind, devid, backendKind = kind, backendDomid = 0 } = name;
	return {
		frontend: `${homePath(domid)}/device/${kind}/${devid}`,
		backend: `${homePath(backendDomid)}/backend/${backendKind}/${domid}/${devid}`,
		libxl: `/libxl/${domid}/device/${kind}/${devid}`,
	};
}

/** Whether the toolstack has given the guest such a device. */
export function deviceExists(store: StoreClient, name: DeviceName): boolean {
	return store.read(`${devicePaths(name).libxl}/backend`) !== undefined;
}

/** Writes a new device's nodes. The back end looks at them before this returns, where it is one of this program. */
export function attachDevice(client: StoreClient, description: DeviceDescription): void {
	const { domid, backendDomid = 0 } = description;
	const { frontend, backend, libxl } = devicePaths(description);
	const ofBackend: Nodes = {
		frontend,
		"frontend-id": domid,
		online: 1,
		state: XenbusState.initialising,
		...description.backend,
	};
	const ofFrontend: Nodes = {
		backend,
		"backend-id": backendDomid,
		state: XenbusState.initialising,
		...description.frontend,
	};
	client.transaction((store) => {
		const create = (path: string, permissions: readonly string[], nodes: Nodes): void => {
			store.remove(path);
			createNode(store, path, permissions);
			for (const [name, value] of Object.entries(nodes)) store.write(`${path}/${name}`, String(value));
		};
		create(libxl, ["n0"], { ...ofBackend, backend });
		create(frontend, [`n${domid}`, `r${backendDomid}`], ofFrontend);
		create(backend, [`n${backendDomid}`, `r${domid}`], ofBackend);
	});
}

export interface DetachOptions {
	/** Takes the device away without asking the guest. */
	readonly force?: boolean;
	/** Milliseconds that the guest has to let go of it before it is taken away all the same; libxl's ten seconds by default. */
	readonly timeout?: number;
}

const DETACH_TIMEOUT = 10_000;

/**
 * Takes a device away: asks both ends to close it, waits for that, and removes its nodes.
 * @returns "closed" where the guest let go of it, "forced" where it was taken away without that, "absent" where there is none
 */
export async function detachDevice(
	client: StoreClient,
	name: DeviceName,
	options: DetachOptions = {},
): Promise<"closed" | "forced" | "absent"> {
	const { backend } = devicePaths(name);
	if (!deviceExists(client, name)) return "absent";
	const isClosed = (): boolean => {
		const state = client.read(`${backend}/state`);
		return state === undefined || parseState(state) === XenbusState.closed;
	};
	client.transaction((store) => {
		if (store.read(`${backend}/state`) === undefined) return;
		store.write(`${backend}/online`, "0");
		if (!isClosed()) store.write(`${backend}/state`, String(XenbusState.closing));
	});
	if (options.force !== true && !isClosed())
		await waitUntil(client, backend, isClosed, options.timeout ?? DETACH_TIMEOUT);
	const closed = isClosed();
	removeDevice(client, name);
	return closed ? "closed" : "forced";
}

/** Removes a device's nodes at once, with directories of which it was the last; its back end lets go of it. */
export function removeDevice(client: StoreClient, name: DeviceName): void {
	const { frontend, backend, libxl } = devicePaths(name);
	client.transaction((store) => {
		removeWithEmptyParents(store, frontend, `${homePath(name.domid)}/device`);
		removeWithEmptyParents(store, backend, homePath(name.backendDomid ?? 0));
		removeWithEmptyParents(store, libxl, `/libxl/${name.domid}/device`);
	});
}
