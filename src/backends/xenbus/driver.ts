/**
 * What a kind of device (vbd, vif, 9pfs, ...) brings to be served to guests. Its driver makes a {@link Backend} for each device that
 * a toolstack has written into the store; bus.ts and device.ts do what all kinds have in common: nodes, states, errors.
 */
import type { Connection } from "./connection.ts";
import type { BackendDevice } from "./device.ts";

/** Nodes with their values, relative to a directory. */
export type Nodes = Readonly<Record<string, string | number>>;

export interface BackendDriver {
	/** The directory's name below `backend/`. */
	readonly kind: string;
	/** Whether devices of that number are none of the bus's (the first console). */
	ignores?(devid: number): boolean;
	/**
	 * A toolstack has made a device.
	 * @throws DeviceError where it cannot be served; the device then has an `error` node and goes to Closing.
	 */
	open(device: BackendDevice): Backend;
}

/** The service of one device, from its attachment to its removal. What it throws ends the device with an `error` node, not the host. */
export interface Backend {
	/** Nodes that tell the front end before it connects what there is: `feature-...`, limits. Read again for each front end. */
	readonly features: Nodes;
	/**
	 * The front end has written what it wants (Initialised or Connected): takes its rings and event channels into use.
	 * @returns nodes to publish together with the state Connected
	 * @throws DeviceError where what it wrote is impossible
	 */
	connect(connection: Connection): Nodes;
	/**
	 * The front end lets go, or has gone: no ring or event channel of the connection may be used any more once this returns (the
	 * caller closes them). A promise keeps the device from going to Closed, and from connecting again, until work in flight is done.
	 */
	disconnect(): void | Promise<void>;
	/** The device is gone for good; {@link disconnect} was called before where it was connected. */
	close(): void | Promise<void>;
	/** Node `name` of the device's directory (not `state` and `online`) has been written: by a toolstack, or by this back end itself. */
	nodeChanged?(name: string): void;
}

/** Why a device cannot go on: what it does wrong, by the front end or the toolstack. */
export class DeviceError extends Error {
	override readonly name = "DeviceError";

	/** @param errno positive, as in the front of the `error` node */
	constructor(
		readonly errno: number,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}
