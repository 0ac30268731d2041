/**
 * A virtual Ethernet switch: learns which addresses are behind which port, and passes frames on to that port, or to all where it does not know.
 * A port that refuses a frame loses it, as a full queue does; who sent it is told later that there is room.
 */
import { ETHERNET_HEADER, Ethernet, type Frame, type NetworkLink, type NetworkPort } from "./frame.ts";
import { isGroup, macNumber } from "./mac.ts";

/** Addresses that are remembered for one port: who claims more makes it forget its own oldest. */
const MOST_ADDRESSES = 256;

class SwitchPort implements NetworkLink {
	/** Addresses behind it, the oldest first. */
	readonly addresses = new Set<number>();
	/** It refused a frame, and has not told of room since. */
	full = false;

	constructor(
		private readonly owner: VirtualSwitch,
		readonly port: NetworkPort,
	) {}

	send(frame: Frame): boolean {
		return this.owner.forward(this, frame);
	}

	settle(): void {
		this.owner.settle(this);
	}

	roomAvailable(): void {
		if (!this.full) return;
		this.full = false;
		this.owner.tellRoom(this);
	}

	detach(): void {
		this.owner.remove(this);
	}

	offer(frame: Frame): boolean {
		const taken = this.port.receive(frame);
		if (!taken) this.full = true;
		return taken;
	}
}

export class VirtualSwitch {
	private readonly ports = new Set<SwitchPort>();
	private readonly table = new Map<number, SwitchPort>();

	/** How many are connected. */
	get size(): number {
		return this.ports.size;
	}

	/** Addresses that it has learnt. */
	get addresses(): number {
		return this.table.size;
	}

	/** Connects a port. */
	attach(port: NetworkPort): NetworkLink {
		const added = new SwitchPort(this, port);
		this.ports.add(added);
		return added;
	}

	/** @returns false where the one port that the frame is for refused it */
	forward(from: SwitchPort, frame: Frame): boolean {
		const { bytes } = frame;
		if (bytes.length < ETHERNET_HEADER || !this.ports.has(from)) return true;
		if (!isGroup(bytes, Ethernet.source)) this.learn(macNumber(bytes, Ethernet.source), from);
		const known = isGroup(bytes, Ethernet.destination)
			? undefined
			: this.table.get(macNumber(bytes, Ethernet.destination));
		if (known !== undefined) return known === from || known.offer(frame);
		for (const port of this.ports) if (port !== from) port.offer(frame);
		return true;
	}

	settle(from: SwitchPort): void {
		for (const port of this.ports) if (port !== from) port.port.settle?.();
	}

	tellRoom(of: SwitchPort): void {
		for (const port of this.ports) if (port !== of) port.port.roomAvailable?.();
	}

	remove(port: SwitchPort): void {
		if (!this.ports.delete(port)) return;
		for (const address of port.addresses) this.table.delete(address);
		port.addresses.clear();
	}

	private learn(address: number, port: SwitchPort): void {
		const before = this.table.get(address);
		if (before === port) return;
		before?.addresses.delete(address);
		if (port.addresses.size >= MOST_ADDRESSES) {
			const [oldest] = port.addresses;
			if (oldest !== undefined) {
				port.addresses.delete(oldest);
				this.table.delete(oldest);
			}
		}
		port.addresses.add(address);
		this.table.set(address, port);
	}
}
