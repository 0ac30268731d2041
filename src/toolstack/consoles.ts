/** Further consoles of guests: writes the nodes that libxl writes for one (libxl__device_console_add), and takes it away again. */
import { ConsoleDriver } from "../backends/console/driver.ts";
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
import type { StoreClient } from "../store/client.ts";
import { ToolstackError } from "./errors.ts";
import { Listeners } from "./listeners.ts";

/** LIBXL_CONSOLE's limit, which libxl writes for all. */
const LIMIT = 1_048_576;
/** Linux's hvc_xen knows a console by the last digit of its directory. */
const MOST_CONSOLES = 9;

/** A console of a guest beside its first: hvcN in Linux. Nobody's output is kept: who wants it listens from the beginning. */
export interface FurtherConsole {
	/** 1 to 9 */
	readonly number: number;
	/** Types on it. Text is sent as UTF-8. */
	write(data: Uint8Array | string): void;
	/** Bytes of input that the guest had no room for yet. */
	readonly pendingInput: number;
	/** Calls `listener` each time that all input has been handed to the guest. Returns what stops that. */
	onInputTaken(listener: () => void): () => void;
	/** Calls `listener` with each piece of output from now on. Returns what stops that. */
	onOutput(listener: (data: Uint8Array) => void): () => void;
}

export class Consoles {
	private readonly driver = new ConsoleDriver();
	private readonly consoles = new Map<string, FurtherConsole>();

	constructor(
		private readonly store: StoreClient,
		private readonly bus: BackendBus,
	) {
		bus.register(this.driver);
	}

	/** Gives a guest a further console, with the lowest number that is free. @throws ToolstackError out-of-range, no-such-domain */
	attach(domid: number): FurtherConsole {
		let number = 1;
		while (deviceExists(this.store, nameOf(domid, number))) number++;
		if (number > MOST_CONSOLES) {
			throw new ToolstackError("out-of-range", `domain ${domid} has all its ${MOST_CONSOLES} consoles`, "Detach one");
		}
		const name = nameOf(domid, number);
		const { backend } = devicePaths(name);
		const [output, taken] = [new Listeners<Uint8Array>(), new Listeners<void>()];
		const { driver } = this;
		driver.provide(backend, { onOutput: output.emit, onInputTaken: taken.emit });
		attachDevice(this.store, {
			...name,
			frontend: { limit: LIMIT, type: "ioemu", output: "pty", tty: "", protocol: "vt100" },
			backend: { protocol: "vt100" },
		});
		if (driver.device(backend) === undefined) {
			removeDevice(this.store, name);
			driver.withdraw(backend);
			throw new ToolstackError("no-such-domain", `there is no domain ${domid}`, "Look at the list of domains");
		}
		const console: FurtherConsole = {
			number,
			write: (data) => driver.device(backend)?.write(typeof data === "string" ? new TextEncoder().encode(data) : data),
			get pendingInput(): number {
				return driver.device(backend)?.pendingInput ?? 0;
			},
			onInputTaken: (listener) => taken.add(listener),
			onOutput: (listener) => output.add(listener),
		};
		this.consoles.set(backend, console);
		this.bus.closed(backend).then(() => this.consoles.delete(backend));
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

	/** A guest's further consoles, by number. */
	list(domid: number): FurtherConsole[] {
		const numbers = Array.from({ length: MOST_CONSOLES }, (_, index) => index + 1);
		return numbers.flatMap((number) => this.consoles.get(devicePaths(nameOf(domid, number)).backend) ?? []);
	}
}

function nameOf(domid: number, devid: number): DeviceName {
	return { domid, kind: "console", devid };
}
