/**
 * The back end's side of one device in the store: its directory, its front end's, and the states between (public/io/xenbus.h). It
 * looks at the states as they are, not at their changes, so that a front end may come again (kexec, a new driver) or write nonsense:
 * the worst that this does is to close its own device, with the reason where xenbus_dev_fatal of Linux writes it.
 */
import type { StoreClient } from "../../store/client.ts";
import { homePath } from "../../store/path.ts";
import { Errno } from "../../xen/abi/errno.ts";
import type { Domain } from "../../xen/domain.ts";
import type { ServiceDomain } from "../../xen/events/service.ts";
import { Connection } from "./connection.ts";
import { type Backend, type BackendDriver, DeviceError, type Nodes } from "./driver.ts";
import { GuestGrants } from "./grants.ts";
import { parseState, XenbusState } from "./state.ts";
import type { Turns } from "./turns.ts";

export class BackendDevice {
	/** The guest, and the device's number in it, as the directory is called. */
	readonly domid: number;
	readonly devid: number;
	readonly frontendPath: string;
	readonly grants: GuestGrants;
	private state: XenbusState = XenbusState.initialising;
	private backend: Backend | undefined;
	private connection: Connection | undefined;
	/** A disconnection that waits for work in flight. */
	private disconnecting: Promise<void> | undefined;
	private removed = false;
	private stopWatching: () => void = () => {};
	/** Resolved when the device is removed and nothing of it is left in use. */
	readonly closed: Promise<void>;
	private markClosed: () => void = () => {};

	/** Made by the bus, for a directory `backend/KIND/DOMID/DEVID` that has just come. */
	constructor(
		readonly driver: BackendDriver,
		readonly store: StoreClient,
		readonly service: ServiceDomain,
		readonly domain: Domain,
		/** The device's directory. */
		readonly path: string,
		private readonly turns: Turns,
	) {
		this.closed = new Promise((resolve) => {
			this.markClosed = resolve;
		});
		this.domid = domain.id;
		this.devid = Number(path.slice(path.lastIndexOf("/") + 1));
		this.frontendPath = store.read(`${path}/frontend`) ?? `${homePath(domain.id)}/device/${driver.kind}/${this.devid}`;
		this.grants = new GuestGrants(domain, service.id);
	}

	/** Begins to serve it; to be called once. */
	start(): void {
		this.guard(() => {
			this.backend = this.driver.open(this);
			this.publish();
		});
		this.stopWatching = this.store.watch(`${this.frontendPath}/state`, () => this.evaluate());
	}

	/** "vbd 1/51712", for messages. */
	get label(): string {
		return `${this.driver.kind} ${this.domid}/${this.devid}`;
	}

	// The store

	/** A node of the front end's directory; undefined where it is not there. */
	readFrontend(name: string): string | undefined {
		return this.store.read(`${this.frontendPath}/${name}`);
	}

	/** A number from 0 to `most` of the front end's. @returns undefined where it is not there. @throws DeviceError where it is none */
	readFrontendNumber(name: string, most = 0xffff_ffff): number | undefined {
		const text = this.readFrontend(name);
		if (text === undefined) return undefined;
		const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
		if (value <= most) return value;
		const shown = JSON.stringify(text.slice(0, 40));
		throw new DeviceError(Errno.EINVAL, `${this.frontendPath}/${name} is ${shown}, not a number up to ${most}`);
	}

	/** Like {@link readFrontendNumber}, of a node that must be there. */
	needFrontendNumber(name: string, most?: number): number {
		const value = this.readFrontendNumber(name, most);
		if (value === undefined) throw new DeviceError(Errno.ENOENT, `reading ${this.frontendPath}/${name}`);
		return value;
	}

	/** A node of the device's directory. */
	read(name: string): string | undefined {
		return this.store.read(`${this.path}/${name}`);
	}

	/** Writes nodes of the device's directory, all at once. */
	write(nodes: Nodes): void {
		this.store.transaction((store) => {
			for (const [name, value] of Object.entries(nodes)) store.write(`${this.path}/${name}`, String(value));
		});
	}

	/** Writes nodes and the state Connected once more: a front end that is connected looks at its device again (a disk's new size). */
	announce(nodes: Nodes): void {
		if (this.state === XenbusState.connected) this.write({ ...nodes, state: XenbusState.connected });
		else this.write(nodes);
	}

	// Work

	/** Runs `work`; what it throws ends the device. */
	guard(work: () => void): void {
		try {
			work();
		} catch (error) {
			this.fail(error);
		}
	}

	/** Calls `work` soon, after other guests have had a turn; guarded. Not called once the device is removed. */
	later(work: () => void): void {
		this.turns.later(() => {
			if (!this.removed) this.guard(work);
		});
	}

	/** Like {@link later}, but when a vCPU waits, and before long (turns.ts): for work that more of its kind is likely to follow at once. */
	gather(work: () => void): void {
		this.turns.gather(() => {
			if (!this.removed) this.guard(work);
		});
	}

	/** Marks that vCPUs may be waiting for `operation` of the host, so that deterministic time does not jump over its end. */
	async hostOperation<T>(operation: Promise<T>): Promise<T> {
		const { loop } = this.domain.hypervisor;
		loop.beginHostOperation();
		try {
			return await operation;
		} finally {
			loop.endHostOperation();
		}
	}

	/** The device cannot go on: the reason goes into the store and the hypervisor's log, the connection is closed. */
	fail(error: unknown): void {
		if (this.removed) return;
		const known = error instanceof DeviceError;
		const message = error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
		const errno = known ? error.errno : Errno.EIO;
		this.domain.hypervisor.log.write(`${this.label}: ${message}`);
		this.store.write(`${this.errorPath}/error`, `${errno} ${message.split("\n", 1)[0]}`);
		this.setState(XenbusState.closing);
		this.disconnect();
		this.evaluate();
	}

	// The bus

	/** A node of the device's directory, by its name in it, may have changed. */
	nodeChanged(name: string): void {
		if (this.removed) return;
		if (name === "state") {
			// Only the toolstack writes another state than ours: Closing, to begin a removal.
			const state = parseState(this.read("state"));
			if (state === this.state || state === XenbusState.unknown) return;
			this.state = state;
			this.evaluate();
		} else if (name === "online") {
			this.evaluate();
		} else {
			this.guard(() => this.backend?.nodeChanged?.(name));
		}
	}

	/** The directory is gone, or the guest is: lets go of everything. */
	remove(): void {
		if (this.removed) return;
		this.removed = true;
		this.stopWatching();
		this.disconnect();
		this.store.remove(this.errorPath);
		this.finish().then(this.markClosed, (error: unknown) => {
			this.domain.hypervisor.log.write(`${this.label}: closing: ${error instanceof Error ? error.message : error}`);
			this.markClosed();
		});
	}

	// States

	private get errorPath(): string {
		return `${homePath(this.service.id)}/error/backend/${this.driver.kind}/${this.domid}/${this.devid}`;
	}

	private get online(): boolean {
		return this.read("online") === "1";
	}

	/** Does what the two states ask for. */
	private evaluate(): void {
		if (this.removed || this.disconnecting !== undefined) return;
		const { state, connection } = this;
		switch (parseState(this.readFrontend("state"))) {
			case XenbusState.initialising:
			case XenbusState.initWait:
				if (connection !== undefined) this.restart();
				else if (!this.online) this.setState(XenbusState.closed);
				else if (state !== XenbusState.initWait && this.backend !== undefined) this.publish();
				break;
			case XenbusState.initialised:
			case XenbusState.connected:
				if (connection === undefined && state === XenbusState.initWait) this.connect();
				break;
			case XenbusState.closing:
				this.setState(XenbusState.closing);
				break;
			case XenbusState.closed:
			case XenbusState.unknown:
				if (connection !== undefined) this.restart();
				else this.setState(XenbusState.closed);
				break;
			default:
				break;
		}
	}

	/** Disconnects and looks again. */
	private restart(): void {
		this.setState(XenbusState.closing);
		this.disconnect();
		this.evaluate();
	}

	/** Tells a front end that may come what there is. */
	private publish(): void {
		if (this.backend === undefined) return;
		this.store.remove(this.errorPath);
		this.write(this.backend.features);
		this.setState(XenbusState.initWait);
	}

	private connect(): void {
		const { backend } = this;
		if (backend === undefined) return;
		const connection = new Connection(this);
		this.connection = connection;
		this.guard(() => {
			this.write(backend.connect(connection));
			this.setState(XenbusState.connected);
		});
	}

	private disconnect(): void {
		const { backend, connection } = this;
		if (connection === undefined) return;
		this.connection = undefined;
		let pending: Promise<void> | undefined;
		try {
			pending = backend?.disconnect() ?? undefined;
		} catch (error) {
			this.domain.hypervisor.log.write(`${this.label}: disconnecting: ${error instanceof Error ? error.stack : error}`);
		}
		connection.close();
		if (pending === undefined) return;
		this.disconnecting = pending
			.catch((error: unknown) => {
				this.domain.hypervisor.log.write(
					`${this.label}: disconnecting: ${error instanceof Error ? error.message : error}`,
				);
			})
			.then(() => {
				this.disconnecting = undefined;
				this.guard(() => this.evaluate());
			});
	}

	private async finish(): Promise<void> {
		await this.disconnecting;
		await this.backend?.close();
	}

	private setState(state: XenbusState): void {
		if (this.state === state) return;
		this.state = state;
		// A directory that is gone must not come back by this.
		if (!this.removed && this.read("state") !== undefined) this.write({ state });
	}
}
