/**
 * What is asked of a guest through xenstore (docs/misc/xenstore-paths of Xen, drivers/xen/manage.c of Linux): control/shutdown, which the
 * guest acknowledges by emptying it, control/sysrq, and cpu/N/availability.
 */
import { homePath } from "../store/path.ts";
import { waitUntil } from "../store/wait.ts";
import type { Domain } from "../xen/domain.ts";
import { ToolstackError } from "./errors.ts";
import type { Machine } from "./machine.ts";

/** What control/shutdown can be asked for here. */
export type ShutdownRequest = "poweroff" | "reboot" | "halt";

export interface RequestOptions {
	/** Milliseconds that the guest has to acknowledge; libxl's 60 seconds by default. */
	readonly timeout?: number;
}

const ACKNOWLEDGE_TIMEOUT = 60_000;

/**
 * Asks the guest to shut itself down or to restart, and waits until it has taken note of that (not until it is done).
 * @throws ToolstackError no-reaction where it does not in time; the request is withdrawn then
 */
export async function requestShutdown(
	machine: Machine,
	domain: Domain,
	request: ShutdownRequest,
	{ timeout = ACKNOWLEDGE_TIMEOUT }: RequestOptions = {},
): Promise<void> {
	const { store } = machine;
	const node = `${homePath(domain.id)}/control/shutdown`;
	const taken = (): boolean => (store.read(node) ?? "") === "";
	store.write(node, request);
	await waitUntil(store, node, taken, timeout);
	if (taken()) return;
	// Nobody may find it later, when nobody wants it any more.
	store.write(node, "");
	const announced = store.read(`${homePath(domain.id)}/control/feature-${request}`) === "1";
	throw new ToolstackError(
		"no-reaction",
		`domain ${domain.id} (${domain.name}) has not reacted to the request to ${request} in ${timeout / 1000} seconds${
			announced ? "" : `, and has not announced that it knows it (control/feature-${request})`
		}`,
		announced ? "Try again, or destroy it" : "Wait until its kernel has started, use its console, or destroy it",
	);
}

/** Presses a SysRq key: a letter or digit. The guest takes it up by itself. @throws ToolstackError out-of-range for anything else */
export function sendSysrq(machine: Machine, domain: Domain, letter: string): void {
	if (!/^[0-9a-z]$/i.test(letter)) {
		throw new ToolstackError("out-of-range", `"${letter}" is no SysRq key`, "Give one letter or digit, such as h");
	}
	machine.store.write(`${homePath(domain.id)}/control/sysrq`, letter);
}

/** vCPUs that the toolstack wants online. */
export function wantedVcpus(machine: Machine, domain: Domain): number {
	const { store } = machine;
	const path = (id: number): string => `${homePath(domain.id)}/cpu/${id}/availability`;
	return domain.vcpus.filter(({ id }) => store.read(path(id)) === "online").length;
}

/**
 * Asks the guest to have so many vCPUs online, the first of them; it brings them up and down by itself.
 * @throws ToolstackError out-of-range where the domain has no such number
 */
export function setOnlineVcpus(machine: Machine, domain: Domain, count: number): void {
	const most = domain.vcpus.length;
	if (!Number.isInteger(count) || count < 1 || count > most) {
		throw new ToolstackError(
			"out-of-range",
			`domain ${domain.id} (${domain.name}) cannot have ${count} vCPUs online`,
			`Give a number from 1 to ${most}; a larger maximum (maxvcpus) is set when a domain is created`,
		);
	}
	machine.store.transaction((store) => {
		for (let id = 0; id < most; id++) {
			store.write(`${homePath(domain.id)}/cpu/${id}/availability`, id < count ? "online" : "offline");
		}
	});
}
