/**
 * xenconsoled for one PV console: gives a guest's output to whoever listens, and feeds it input as fast as it takes it. It reaches the
 * guest as a dom0 would, through a grant of the ring's page and an event channel.
 */
import type { Domain } from "../../xen/domain.ts";
import type { ServiceDomain } from "../../xen/events/service.ts";
import { ConsoleRing } from "./ring.ts";

export interface ConsoleOptions {
	/** Called with each piece of output, which it may keep. Must not throw. */
	readonly onOutput: (bytes: Uint8Array) => void;
	/** Called each time all input that was written has been put into the guest's ring. */
	readonly onInputTaken?: () => void;
	/** Whether output is taken now; where it was not, {@link ConsoleBackend.handleEvent} is to be called when it is again. */
	readonly hasRoom?: () => boolean;
}

/** GNTTAB_RESERVED_CONSOLE: the grant by which a builder gives domain 0 the console's page. */
export const CONSOLE_GRANT = 0;

export class ConsoleBackend {
	private readonly queue: Uint8Array[] = [];
	private closed = false;

	constructor(
		private readonly ring: ConsoleRing,
		private readonly notify: () => void,
		private readonly options: ConsoleOptions,
		private readonly release: () => void = () => {},
	) {}

	/** Bytes of input that wait for the guest. */
	get pendingInput(): number {
		return this.queue.reduce((sum, bytes) => sum + bytes.length, 0);
	}

	/** Input for the guest. Copied; what does not fit its ring waits for it. */
	write(bytes: Uint8Array): void {
		if (this.closed || bytes.length === 0) return;
		this.queue.push(bytes.slice());
		if (this.feed()) this.notify();
	}

	/** The guest's event: takes its output, and gives it the input that it has made room for. */
	handleEvent(): void {
		if (!this.closed) this.transfer(this.options.hasRoom?.() ?? true);
	}

	/** Lets go of the guest: the last output is taken first. */
	close(): void {
		if (this.closed) return;
		this.transfer(true);
		this.closed = true;
		this.queue.length = 0;
		this.release();
	}

	private transfer(takesOutput: boolean): void {
		const output = takesOutput ? this.ring.takeOutput() : undefined;
		const fed = this.feed();
		if (output !== undefined || fed) this.notify();
		if (output !== undefined) this.options.onOutput(output);
	}

	/** @returns whether the guest got anything. */
	private feed(): boolean {
		let fed = false;
		for (let bytes = this.queue[0]; bytes !== undefined; bytes = this.queue[0]) {
			const count = this.ring.putInput(bytes);
			if (count === 0) return fed;
			fed = true;
			if (count < bytes.length) {
				this.queue[0] = bytes.subarray(count);
				return true;
			}
			this.queue.shift();
		}
		if (fed) this.options.onInputTaken?.();
		return fed;
	}
}

/**
 * Attaches to the console that a builder has set up: the page granted by reference {@link CONSOLE_GRANT} (or another), and the
 * guest's unbound event channel `port`.
 * @returns undefined where the guest offers no such page or port.
 */
export function attachConsole(
	service: ServiceDomain,
	domain: Domain,
	port: number,
	options: ConsoleOptions,
	grant = CONSOLE_GRANT,
): ConsoleBackend | undefined {
	const mapping = domain.grants.map(service.id, grant, false);
	if (typeof mapping === "number") return undefined;
	let local = -1;
	const backend = new ConsoleBackend(
		new ConsoleRing(domain.hypervisor.memory, mapping.address),
		() => service.notify(local),
		options,
		() => {
			service.unbind(local);
			mapping.unmap();
		},
	);
	local = service.bindInterdomain(domain.id, port, () => backend.handleEvent());
	if (local >= 0) return backend;
	mapping.unmap();
	return undefined;
}
