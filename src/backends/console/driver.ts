/**
 * Further consoles of a guest (hvc1, ...): xenbus devices of kind `console` from number 1 on, as Linux's hvc_xen has them. Number 0 is the
 * console that the builder has set up, which needs no negotiation (console.ts). A toolstack hands over who listens with
 * {@link ConsoleDriver.provide}, then writes the device's nodes.
 */
import { Errno } from "../../xen/abi/errno.ts";
import type { Channel, Connection } from "../xenbus/connection.ts";
import type { BackendDevice } from "../xenbus/device.ts";
import { type Backend, type BackendDriver, DeviceError, type Nodes } from "../xenbus/driver.ts";
import { ConsoleBackend, type ConsoleOptions } from "./console.ts";
import { ConsoleRing } from "./ring.ts";

/** Bytes of input that are kept for a guest which does not read; what is typed beyond is lost, as on a serial line. */
const MOST_INPUT = 2 ** 20;

export class ConsoleDriver implements BackendDriver {
	readonly kind = "console";
	private readonly provided = new Map<string, ConsoleOptions>();
	private readonly served = new Map<string, ConsoleDevice>();

	ignores(devid: number): boolean {
		return devid === 0;
	}

	/** Says who listens to the device whose directory will be `path`. */
	provide(path: string, options: ConsoleOptions): void {
		this.provided.set(path, options);
	}

	/** Takes that back, where no device has come. */
	withdraw(path: string): void {
		this.provided.delete(path);
	}

	/** The device of a directory, where it is served. */
	device(path: string): ConsoleDevice | undefined {
		return this.served.get(path);
	}

	open(device: BackendDevice): Backend {
		const { path } = device;
		const options = this.provided.get(path);
		if (options === undefined) throw new DeviceError(Errno.ENODEV, "nobody listens to this console");
		this.provided.delete(path);
		const opened = new ConsoleDevice(device, options, () => this.served.delete(path));
		this.served.set(path, opened);
		return opened;
	}
}

/** One further console of one guest. */
export class ConsoleDevice implements Backend {
	readonly features: Nodes = {};
	private console: ConsoleBackend | undefined;
	/** What was typed before the guest connected. */
	private early: Uint8Array[] = [];

	constructor(
		private readonly device: BackendDevice,
		private readonly options: ConsoleOptions,
		private readonly onClose: () => void,
	) {}

	connect(connection: Connection): Nodes {
		const { device } = this;
		const ring = new ConsoleRing(
			device.domain.hypervisor.memory,
			connection.mapPage(device.needFrontendNumber("ring-ref")),
		);
		let channel: Channel | undefined;
		const console = new ConsoleBackend(ring, () => channel?.notify(), this.options);
		channel = connection.bindChannel(() => console.handleEvent(), "", "port");
		this.console = console;
		for (const bytes of this.early.splice(0)) console.write(bytes);
		return {};
	}

	disconnect(): void {
		this.console?.close();
		this.console = undefined;
	}

	close(): void {
		this.onClose();
	}

	/** Input for the guest; copied. */
	write(bytes: Uint8Array): void {
		if (this.pendingInput + bytes.length > MOST_INPUT) return;
		if (this.console === undefined) this.early.push(bytes.slice());
		else this.console.write(bytes);
	}

	/** There is room for output again. */
	resume(): void {
		this.console?.handleEvent();
	}

	get pendingInput(): number {
		return this.console?.pendingInput ?? this.early.reduce((sum, bytes) => sum + bytes.length, 0);
	}
}
