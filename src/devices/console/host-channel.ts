/** The host's side of a channel (xen-pv-channel(7)): a pseudo-terminal, or a Unix-domain socket that one program at a time connects to. */

export type ChannelConnection = "pty" | "socket";

export interface HostChannel {
	/** Where programs of the host reach it: the terminal's device, or the socket. */
	readonly path: string;
	/**
	 * The guest's output. Where no program listens it is lost, as on a serial line.
	 * @returns false where the guest should wait: {@link ChannelEvents.onRoom} tells when it need not any more
	 */
	write(bytes: Uint8Array): boolean;
	/** Whether input is taken from the host. */
	flow(on: boolean): void;
	/** Ends it; nothing of it is left on the host. */
	close(): void;
}

export interface ChannelEvents {
	/** Input for the guest. */
	readonly onInput: (bytes: Uint8Array) => void;
	readonly onRoom: () => void;
}

/**
 * Opens the host's side.
 * @param path of the socket
 * @throws HostChannelError
 */
export type OpenHostChannel = (
	connection: ChannelConnection,
	path: string | undefined,
	events: ChannelEvents,
) => Promise<HostChannel>;

/** Why the host's side cannot be had, and what to do. */
export class HostChannelError extends Error {
	override readonly name = "HostChannelError";

	constructor(
		readonly reason: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(reason, options);
	}
}
