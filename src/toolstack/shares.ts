/**
 * Folders of the host that guests share: opens them, writes the nodes that libxl writes for a 9pfs device (libxl_9pfs.c), and takes them
 * away again.
 */
import { P9Driver } from "../backends/p9/driver.ts";
import {
	attachDevice,
	type DetachOptions,
	type DeviceName,
	detachDevice,
	devicePaths,
	removeDevice,
} from "../backends/xenbus/attach.ts";
import type { BackendBus } from "../backends/xenbus/bus.ts";
import { FolderError, type HostFolder } from "../devices/p9/folder.ts";
import type { StoreClient } from "../store/client.ts";
import { checkTag, type P9Specification, parseP9, ShareSpecificationError } from "./config/p9.ts";
import { attachAll } from "./open-devices.ts";

/** A share for a guest. */
export interface ShareRequest {
	readonly tag: string;
	readonly path: string;
	/** The guest can change nothing; false by default. */
	readonly readOnly?: boolean;
}

/** A share whose folder is open and which is not yet a guest's. */
export interface OpenShare {
	readonly request: P9Specification;
	readonly folder: HostFolder;
}

export interface ShareInformation {
	readonly tag: string;
	readonly path: string;
	readonly readOnly: boolean;
	/** Its number, which names its directory in the store. */
	readonly devid: number;
	/** XenbusState of the back end. */
	readonly state: number;
	readonly backend: string;
	readonly frontend: string;
}

/** Opens a folder of the host. @throws FolderError */
export type OpenFolder = (path: string) => HostFolder;

/** Whether the guest may write: in the back end's directory, where libxl has `path` and `security_model`. */
const ACCESS = "mode";
const KIND = "9pfs";
const REASONS: Readonly<Record<string, string>> = {
	ENOENT: "there is no such folder",
	ENOTDIR: "it is no folder",
	EACCES: "its permissions do not allow it",
	EOPNOTSUPP: "this system has no /proc, without which a guest could not be kept in the folder",
};

export class Shares {
	private readonly driver = new P9Driver();

	/** @param openFolder undefined where the platform has no folders */
	constructor(
		private readonly store: StoreClient,
		private readonly bus: BackendBus,
		private readonly openFolder: OpenFolder | undefined,
	) {
		bus.register(this.driver);
	}

	/** Opens a share's folder. @throws ShareSpecificationError */
	open(wanted: ShareRequest | string): OpenShare {
		const request = typeof wanted === "string" ? parseP9(wanted) : { readOnly: false, ...wanted };
		const { path, tag } = request;
		checkTag(path, tag);
		if (this.openFolder === undefined) {
			throw new ShareSpecificationError(path, "there are no folders on this platform", "Use a disk");
		}
		try {
			return { request, folder: this.openFolder(path) };
		} catch (error) {
			const reason = error instanceof FolderError ? (REASONS[error.code] ?? error.code) : String(error);
			throw new ShareSpecificationError(path, `cannot be opened: ${reason}`, "Name a folder that you can read");
		}
	}

	/** Opens all of a domain's shares, or none. @throws ShareSpecificationError */
	openAll(wanted: readonly (ShareRequest | string)[]): OpenShare[] {
		const open: OpenShare[] = [];
		try {
			for (const share of wanted) open.push(this.open(share));
			for (const { request } of open) {
				if (open.some((other) => other.request !== request && other.request.tag === request.tag)) {
					throw new ShareSpecificationError(
						request.path,
						`two shares have the tag ${request.tag}`,
						"Give each its own",
					);
				}
			}
		} catch (error) {
			closeShares(open);
			throw error;
		}
		return open;
	}

	/** Gives open shares to a guest; where one cannot be given, those behind it are closed. @throws ShareSpecificationError */
	attachAll(domid: number, shares: readonly OpenShare[]): void {
		attachAll(shares, (each) => this.attach(domid, each), closeShares);
	}

	/** Gives an open share to a guest. The folder is closed where that fails. @throws ShareSpecificationError */
	attach(domid: number, share: OpenShare): ShareInformation {
		const { tag, path, readOnly } = share.request;
		const fail = (reason: string, remedy: string): never => {
			closeShares([share]);
			throw new ShareSpecificationError(path, reason, remedy);
		};
		const others = this.list(domid);
		if (others.some((other) => other.tag === tag)) fail(`the guest has a share ${tag} already`, "Give another tag");
		const used = new Set(others.map(({ devid }) => devid));
		let devid = 0;
		while (used.has(devid)) devid++;
		const name = nameOf(domid, devid);
		const { backend } = devicePaths(name);
		this.driver.provide(backend, { folder: share.folder, readOnly });
		attachDevice(this.store, {
			...name,
			frontend: { tag },
			backend: { tag, path, security_model: "none", [ACCESS]: readOnly ? "r" : "w" },
		});
		if (!this.driver.serves(backend)) {
			removeDevice(this.store, name);
			this.driver.withdraw(backend);
			fail(`there is no domain ${domid} that could use it`, "Look at the list of domains");
		}
		return this.information(domid, devid);
	}

	/**
	 * Takes a share away; resolved when its files are closed.
	 * @param share its tag or number
	 * @throws ShareSpecificationError where the guest has no such share
	 */
	async detach(domid: number, share: string | number, options?: DetachOptions): Promise<"closed" | "forced"> {
		const all = this.list(domid);
		const found = all.find(({ tag, devid }) => (typeof share === "number" ? devid === share : tag === share));
		if (found === undefined) {
			const remedy = all.length === 0 ? "It has none" : `It has ${all.map(({ tag }) => tag).join(", ")}`;
			throw new ShareSpecificationError(String(share), "the guest has no such share", remedy);
		}
		const result = await detachDevice(this.store, nameOf(domid, found.devid), options);
		await this.bus.closed(found.backend);
		return result === "absent" ? "closed" : result;
	}

	/** The shares of a guest, by number. */
	list(domid: number): ShareInformation[] {
		const numbers = (this.store.list(`/libxl/${domid}/device/${KIND}`) ?? []).map(Number).sort((a, b) => a - b);
		return numbers.map((devid) => this.information(domid, devid));
	}

	private information(domid: number, devid: number): ShareInformation {
		const { frontend, backend } = devicePaths(nameOf(domid, devid));
		const read = (name: string): string => this.store.read(`${backend}/${name}`) ?? "";
		return {
			// Not the front end's, which the guest can write.
			tag: read("tag"),
			path: read("path"),
			readOnly: read(ACCESS) !== "w",
			devid,
			state: Number(read("state")) || 0,
			backend,
			frontend,
		};
	}
}

/** Closes shares that no guest has got. */
export function closeShares(shares: readonly OpenShare[]): void {
	for (const { folder } of shares) folder.close();
}

function nameOf(domid: number, devid: number): DeviceName {
	return { domid, kind: KIND, devid };
}
