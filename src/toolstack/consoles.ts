/**
 * Further consoles of guests, and channels, which are consoles with a name for the guest and a program of the host at the other end: writes the
 * nodes that libxl writes for one (libxl__device_console_add), and takes it away again.
 */
import { type ConsoleDevice, ConsoleDriver } from "../backends/console/driver.ts";
import {
	attachDevice,
	type DetachOptions,
	type DeviceName,
	detachDevice,
	deviceExists,
	devicePaths,
	removeDevice,
} from "../backends/xenbus/attach.ts";
import type { BackendBus } from "../backends/xenbus/bus.ts";
import type { Nodes } from "../backends/xenbus/driver.ts";
import {
	type ChannelEvents,
	type HostChannel,
	HostChannelError,
	type OpenHostChannel,
} from "../devices/console/host-channel.ts";
import type { StoreClient } from "../store/client.ts";
import { ChannelError, type ChannelSpecification, parseChannel } from "./config/channel.ts";
import { ToolstackError } from "./errors.ts";
import { Listeners } from "./listeners.ts";
import { attachAll, openAll } from "./open-devices.ts";

/** LIBXL_CONSOLE's limit, which libxl writes for all. */
const LIMIT = 1_048_576;
/** Linux's hvc_xen knows a console by the last digit of its directory. */
const MOST_CONSOLES = 9;
/** Bytes of input that wait for a guest before a channel takes no more from the host. */
const MOST_CHANNEL_INPUT = 1 << 16;

/** A console of a guest beside its first: hvcN in Linux. Nobody's output is kept: who wants it listens from the beginning. */
export interface FurtherConsole {
	/** 1 to 9 */
	readonly number: number;
	/** Where it is a channel. */
	readonly channel: (ChannelSpecification & { readonly path: string }) | undefined;
	/** Types on it. Text is sent as UTF-8. */
	write(data: Uint8Array | string): void;
	/** Bytes of input that the guest had no room for yet. */
	readonly pendingInput: number;
	/** Calls `listener` each time that all input has been handed to the guest. Returns what stops that. */
	onInputTaken(listener: () => void): () => void;
	/** Calls `listener` with each piece of output from now on. Returns what stops that. */
	onOutput(listener: (data: Uint8Array) => void): () => void;
}

/** A channel whose host's side is open, and which is no guest's yet. */
export interface OpenChannel {
	readonly request: ChannelSpecification;
	readonly host: HostChannel;
	/** Who hears of it, once a guest has it. */
	readonly events: { -readonly [K in keyof ChannelEvents]: ChannelEvents[K] };
}

/** What `xl channel-list` shows. */
export interface ChannelInformation {
	/** The console's number: hvcN in Linux. */
	readonly devid: number;
	readonly name: string;
	readonly connection: ChannelSpecification["connection"];
	/** The terminal's device, or the socket. */
	readonly path: string;
	/** XenbusState of the back end. */
	readonly state: number;
	readonly eventChannel: number | undefined;
	readonly ringReference: number | undefined;
	readonly backend: string;
	readonly frontend: string;
}

export class Consoles {
	private readonly driver = new ConsoleDriver();
	private readonly consoles = new Map<string, FurtherConsole>();

	constructor(
		private readonly store: StoreClient,
		private readonly bus: BackendBus,
		/** undefined where the platform has no channels */
		private readonly openHostChannel: OpenHostChannel | undefined,
	) {
		bus.register(this.driver);
	}

	/** Opens the host's side of a channel. @throws ChannelError */
	async open(wanted: ChannelSpecification | string): Promise<OpenChannel> {
		const request = typeof wanted === "string" ? parseChannel(wanted) : wanted;
		const { name, connection, path } = request;
		if (this.openHostChannel === undefined) {
			throw new ChannelError(name, "there are no channels on this platform", "Leave it out");
		}
		const events: OpenChannel["events"] = { onInput: () => {}, onRoom: () => {} };
		try {
			const host = await this.openHostChannel(connection, path, {
				onInput: (bytes) => events.onInput(bytes),
				onRoom: () => events.onRoom(),
			});
			// Programs may be quick, and the guest is not there yet: what has come is read when it is.
			host.flow(false);
			return { request, host, events };
		} catch (error) {
			if (!(error instanceof HostChannelError)) throw error;
			throw new ChannelError(name, error.reason, error.remedy, { cause: error });
		}
	}

	/** Opens all of a domain's channels, or none. @throws ChannelError */
	openAll(wanted: readonly (ChannelSpecification | string)[]): Promise<OpenChannel[]> {
		return openAll(wanted, (each) => this.open(each), closeChannels);
	}

	/** Gives open channels to a guest, in order; those that it does not get are closed. @throws as {@link attach} */
	attachAll(domid: number, channels: readonly OpenChannel[]): void {
		attachAll(channels, (each) => this.attach(domid, each), closeChannels);
	}

	/**
	 * Gives a guest a further console, with the lowest number that is free.
	 * @param channel what is at its other end; closed with it, or where this fails
	 * @throws ToolstackError out-of-range, no-such-domain
	 */
	attach(domid: number, channel?: OpenChannel): FurtherConsole {
		try {
			return this.attachOpen(domid, channel);
		} catch (error) {
			channel?.host.close();
			throw error;
		}
	}

	private attachOpen(domid: number, channel: OpenChannel | undefined): FurtherConsole {
		let number = 1;
		while (deviceExists(this.store, nameOf(domid, number))) number++;
		if (number > MOST_CONSOLES) {
			throw new ToolstackError("out-of-range", `domain ${domid} has all its ${MOST_CONSOLES} consoles`, "Detach one");
		}
		const name = nameOf(domid, number);
		const { backend } = devicePaths(name);
		const [output, taken] = [new Listeners<Uint8Array>(), new Listeners<void>()];
		const { driver } = this;
		const connected = channel && connect(channel, () => driver.device(backend));
		driver.provide(backend, {
			onOutput: (bytes) => {
				connected?.onOutput(bytes);
				output.emit(bytes);
			},
			onInputTaken: () => {
				connected?.onInputTaken();
				taken.emit();
			},
			...(connected === undefined ? {} : { hasRoom: connected.hasRoom }),
		});
		attachDevice(this.store, { ...name, ...nodesOf(number, channel) });
		if (driver.device(backend) === undefined) {
			removeDevice(this.store, name);
			driver.withdraw(backend);
			throw new ToolstackError("no-such-domain", `there is no domain ${domid}`, "Look at the list of domains");
		}
		const console: FurtherConsole = {
			number,
			channel: channel && { ...channel.request, path: channel.host.path },
			write: (data) => driver.device(backend)?.write(typeof data === "string" ? new TextEncoder().encode(data) : data),
			get pendingInput(): number {
				return driver.device(backend)?.pendingInput ?? 0;
			},
			onInputTaken: (listener) => taken.add(listener),
			onOutput: (listener) => output.add(listener),
		};
		this.consoles.set(backend, console);
		void this.bus.closed(backend).then(() => {
			this.consoles.delete(backend);
			channel?.host.close();
		});
		channel?.host.flow(true);
		return console;
	}

	/**
	 * Takes a further console away.
	 * @returns "forced" where the guest did not let go of it in time
	 * @throws ToolstackError out-of-range where it has no such console
	 */
	async detach(domid: number, number: number, options?: DetachOptions): Promise<"closed" | "forced"> {
		const name = nameOf(domid, number);
		if (number < 1 || !deviceExists(this.store, name)) {
			const remedy = "The first console (0) stays";
			throw new ToolstackError("out-of-range", `domain ${domid} has no further console ${number}`, remedy);
		}
		const result = await detachDevice(this.store, name, options);
		await this.bus.closed(devicePaths(name).backend);
		return result === "absent" ? "closed" : result;
	}

	/** A guest's channels, as `xl channel-list` shows them. */
	channels(domid: number): ChannelInformation[] {
		return this.list(domid).flatMap(({ number, channel }) => {
			if (channel === undefined) return [];
			const { backend, frontend } = devicePaths(nameOf(domid, number));
			return {
				devid: number,
				name: channel.name,
				connection: channel.connection,
				path: channel.path,
				state: this.store.readNumber(`${backend}/state`) ?? 0,
				eventChannel: this.store.readNumber(`${frontend}/port`),
				ringReference: this.store.readNumber(`${frontend}/ring-ref`),
				backend,
				frontend,
			};
		});
	}

	/** A guest's further consoles, by number. */
	list(domid: number): FurtherConsole[] {
		const numbers = Array.from({ length: MOST_CONSOLES }, (_, index) => index + 1);
		return numbers.flatMap((number) => this.consoles.get(devicePaths(nameOf(domid, number)).backend) ?? []);
	}
}

/** Closes channels that no guest has got. */
export function closeChannels(channels: readonly OpenChannel[]): void {
	for (const { host } of channels) host.close();
}

/** Ties a channel's host's side to the device that serves the guest's. */
function connect({ host, events }: OpenChannel, device: () => ConsoleDevice | undefined) {
	let room = true;
	events.onInput = (bytes) => {
		device()?.write(bytes);
		if ((device()?.pendingInput ?? 0) >= MOST_CHANNEL_INPUT) host.flow(false);
	};
	events.onRoom = () => {
		room = true;
		device()?.resume();
	};
	return {
		hasRoom: () => room,
		onOutput: (bytes: Uint8Array) => {
			room = host.write(bytes);
		},
		onInputTaken: () => host.flow(true),
	};
}

/** What libxl writes, with a channel's name for the guest and its other end for the back end (libxl__init_console_from_channel). */
function nodesOf(
	number: number,
	channel: OpenChannel | undefined,
): { readonly frontend: Nodes; readonly backend: Nodes } {
	const frontend: Nodes = { limit: LIMIT, type: "ioemu", output: "pty", tty: "", protocol: "vt100" };
	const backend: Nodes = { protocol: "vt100" };
	if (channel === undefined) return { frontend, backend };
	const { host, request } = channel;
	const { name, connection } = request;
	const ofBoth = { name };
	return connection === "pty"
		? { frontend: { ...frontend, ...ofBoth, tty: host.path }, backend: { ...backend, ...ofBoth, connection } }
		: {
				frontend: { ...frontend, ...ofBoth, output: `chardev:libxl-channel${number - 1}` },
				backend: { ...backend, ...ofBoth, connection, path: host.path },
			};
}

function nameOf(domid: number, devid: number): DeviceName {
	return { domid, kind: "console", devid };
}
