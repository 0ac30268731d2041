/** What the daemon does for each request. Errors are the host's own. */
import { SIZE_NODE } from "../guests/session.ts";
import type { Host } from "../host/node.ts";
import type { DomainConfig } from "../toolstack/config/domain-config.ts";
import type { DomainEnd, GuestDomain } from "../toolstack/guest-domain.ts";
import { formatCrashReport } from "../xen/crash.ts";
import type { ConsoleBuffer, DomainConsoles } from "./consoles.ts";
import { DaemonError } from "./errors.ts";
import type { DaemonStatus, EndEvent, MethodName, Methods } from "./protocol.ts";

/** The connection that a request came by. */
export interface Caller<M extends MethodName> {
	/** @returns false where the connection has no room; {@link onRoom} tells when it has again */
	event(event: Methods[M]["event"]): boolean;
	onRoom(listener: () => void): () => void;
	/** Input that comes for the request. @returns false from the listener where it wants no more for now; {@link takeInput} then */
	onInput(listener: (bytes: Uint8Array) => boolean): void;
	takeInput(): void;
	/** Resolved when the connection is gone. */
	readonly closed: Promise<void>;
}

export interface DaemonContext {
	readonly host: Host;
	readonly consoles: WeakMap<GuestDomain, DomainConsoles>;
	readonly configs: WeakMap<GuestDomain, DomainConfig>;
	/** Where a core dump goes. */
	createFile(path: string): Promise<{ write(piece: Uint8Array): Promise<void>; close(): Promise<void> }>;
	status(): DaemonStatus;
	stop(): void;
}

type Implementation<M extends MethodName> = (
	params: Methods[M]["params"],
	context: DaemonContext,
	caller: Caller<M>,
) => Methods[M]["result"] | Promise<Methods[M]["result"]>;

/** Bytes of input that wait for a guest before no more is read from the connection. */
const MOST_INPUT = 1 << 20;

/** A method that finds the domain, does one thing to it, and has nothing to tell. */
function act<M extends MethodName>(
	action: (domain: GuestDomain, params: Methods[M]["params"]) => unknown,
): (params: Methods[M]["params"], context: DaemonContext) => Promise<null> {
	return async (params, { host }) => {
		await action(host.findDomain((params as { domain: string | number }).domain), params);
		return null;
	};
}

export const METHODS: { readonly [M in MethodName]: Implementation<M> } = {
	status: (_, context) => context.status(),
	async stop({ force }, { host, stop }) {
		const { size } = host.domains;
		if (size > 0 && !force) {
			const what = size === 1 ? "a domain" : `${size} domains`;
			throw new DaemonError("busy", `the daemon has ${what}`, "Shut them down first, or give --force to end them too");
		}
		await Promise.all([...host.domains].map((domain) => domain.destroy()));
		stop();
		return null;
	},
	list: (_, { host }) => host.listDomains(),
	info: (_, { host }) => host.info(),
	vcpus: ({ domain }, { host }) => host.findDomain(domain).vcpus(),
	config: ({ domain }, { host, configs }) => configs.get(host.findDomain(domain)) ?? null,
	async create({ config, paused }, { host, configs }) {
		const { id, name } = await host.createDomain({ ...config, paused }, (domain) => configs.set(domain, config));
		return { id, name };
	},
	destroy: act<"destroy">((domain) => domain.destroy()),
	shutdown: act<"shutdown">((domain) => domain.shutdown()),
	reboot: act<"reboot">((domain) => domain.reboot()),
	pause: act<"pause">((domain) => domain.pause()),
	unpause: act<"unpause">((domain) => domain.unpause()),
	rename: act<"rename">((domain, { name }) => domain.rename(name)),
	setMemory: act<"setMemory">((domain, { bytes, force }) => domain.setMemoryTarget(bytes, { force })),
	setMaximumMemory: act<"setMaximumMemory">((domain, { bytes }) => domain.setMaximumMemory(bytes)),
	setVcpus: act<"setVcpus">((domain, { count }) => domain.setVcpus(count)),
	setScheduling: act<"setScheduling">((domain, { domain: _, ...parameters }) => domain.setScheduling(parameters)),
	sysrq: act<"sysrq">((domain, { letter }) => domain.sysrq(letter)),
	trigger: act<"trigger">((domain, { trigger, vcpu }) => domain.trigger(trigger, vcpu)),
	async dumpCore({ domain, file: path, live, format }, { host, createFile }) {
		const guest = host.findDomain(domain);
		const file = await createFile(path);
		try {
			await guest.dumpCore((piece) => file.write(piece), { live, format });
		} finally {
			await file.close();
		}
		return null;
	},
	log({ clear }, { host }) {
		const { log } = host;
		if (clear) host.clearLog();
		return log;
	},
	disks: ({ domain }, { host }) => host.findDomain(domain).disks(),
	attachDisk: ({ domain, disk }, { host }) => host.findDomain(domain).attachDisk(disk),
	detachDisk: ({ domain, disk, force }, { host }) => {
		const name = /^\d+$/.test(disk) ? Number(disk) : disk;
		return host.findDomain(domain).detachDisk(name, { force });
	},
	networks: ({ domain }, { host }) => host.findDomain(domain).networks(),
	attachNetwork: ({ domain, network }, { host }) => host.findDomain(domain).attachNetwork(network),
	detachNetwork: ({ domain, network, force }, { host }) => host.findDomain(domain).detachNetwork(network, { force }),
	channels: ({ domain }, { host }) => host.findDomain(domain).channels(),
	async follow({ domain, restarts }, { host }, caller) {
		let guest: GuestDomain | undefined = host.findDomain(domain);
		while (guest !== undefined) {
			const end: DomainEnd | undefined = await orClosed(guest.ended, caller);
			if (end === undefined) return null;
			// What follows from the end is done before anybody hears of it: the domain is gone then.
			const successor: Promise<GuestDomain | undefined> = guest.successor.catch(() => undefined);
			const restarting =
				end.action === "restart" || end.action === "coredump-restart" || end.action === "rename-restart";
			if (!restarting) await successor;
			caller.event(endEvent(guest, end));
			guest = restarts ? await orClosed(successor, caller) : undefined;
		}
		return null;
	},
	async console({ domain, number, restarts }, { host, consoles }, caller) {
		let guest: GuestDomain | undefined = host.findDomain(domain);
		while (guest !== undefined) {
			const buffer = consoles.get(guest)?.find(number);
			if (buffer !== undefined) await readConsole(guest, buffer, caller);
			guest = restarts ? await orClosed(guest.successor, caller).catch(() => undefined) : undefined;
		}
		return null;
	},
	terminalSize: act<"terminalSize">(({ store }, { rows, columns }) => store.write(SIZE_NODE, `${rows} ${columns}`)),
};

/** Connects a caller to a console until the domain has ended or the caller is gone. */
async function readConsole(guest: GuestDomain, buffer: ConsoleBuffer, caller: Caller<"console">): Promise<void> {
	const { console } = buffer;
	const reader = { output: (bytes: Uint8Array) => caller.event({ output: Buffer.from(bytes).toString("base64") }) };
	// Who starts the domain now misses nothing of it.
	reader.output(new Uint8Array(0));
	const detach = buffer.attach(reader);
	const stopRoom = caller.onRoom(() => buffer.resume(reader));
	const stopTaken = console.onInputTaken(() => caller.takeInput());
	caller.onInput((bytes) => {
		console.write(bytes);
		return console.pendingInput < MOST_INPUT;
	});
	await orClosed(guest.ended, caller);
	stopTaken();
	stopRoom();
	detach();
}

/** What a promise gives, or undefined where the caller is gone first. */
function orClosed<T>(promise: Promise<T>, { closed }: { readonly closed: Promise<void> }): Promise<T | undefined> {
	return Promise.race([promise, closed.then(() => undefined)]);
}

function endEvent({ id, name }: GuestDomain, { reason, action, crashReason, crash }: DomainEnd): EndEvent {
	const report = crash === undefined ? undefined : formatCrashReport(crash);
	return { domain: id, name, reason, action, crashReason, report };
}
