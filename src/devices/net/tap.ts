/**
 * A tap device of the host as a port of a virtual network: frames go to the host's kernel whole, with complete checksums and cut to size, as a
 * tap device without offloads takes them.
 */
import { ETHERNET_HEADER, type Frame, type NetworkLink, type NetworkPort } from "./frame.ts";
import { segments, withChecksum } from "./offload.ts";

/** A tap device that is open. */
export interface HostTap {
	readonly name: string;
	/** Sends a frame; copied. Where too many wait, it is lost. */
	send(frame: Uint8Array): void;
	/** Resolved when it has ended by itself, with the reason. */
	readonly lost: Promise<string>;
	close(): void;
}

/**
 * Opens a tap device; one that does not exist is made, and is gone when it is closed.
 * @throws HostTapError
 */
export type OpenHostTap = (name: string, onFrame: (frame: Uint8Array) => void) => Promise<HostTap>;

/** Why there can be no tap device, and what to do. */
export class HostTapError extends Error {
	override readonly name = "HostTapError";

	constructor(
		readonly reason: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(reason, options);
	}
}

/** Bytes of payload of the smallest TCP segments that a frame is cut into: no network needs smaller ones, and each costs the host a frame. */
const LEAST_SEGMENT = 64;

export class TapPort implements NetworkPort {
	link: NetworkLink | undefined;
	private settling = false;

	constructor(
		private readonly tap: HostTap,
		/** Called with each frame either way: time that counts instructions waits for the host's network a while. */
		private readonly onActivity: () => void,
	) {}

	/** Hands a frame of the host's on. */
	deliver(bytes: Uint8Array): void {
		const { link } = this;
		if (link === undefined || bytes.length < ETHERNET_HEADER) return;
		this.onActivity();
		link.send({ bytes, checksumBlank: false, segmentSize: 0 });
		if (this.settling) return;
		this.settling = true;
		queueMicrotask(() => {
			this.settling = false;
			link.settle();
		});
	}

	receive(frame: Frame): boolean {
		this.onActivity();
		const whole = frame.segmentSize === 0 ? withChecksum(frame) : undefined;
		if (whole !== undefined) this.tap.send(whole.bytes);
		else if (frame.segmentSize >= LEAST_SEGMENT) for (const { bytes } of segments(frame)) this.tap.send(bytes);
		return true;
	}
}
