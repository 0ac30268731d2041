/** What is done when a domain has ended by itself: xl's handle_domain_death. */
import type { DomainEnd, GuestDomain } from "./guest-domain.ts";
import type { Machine } from "./machine.ts";
import { newUuid } from "./uuid.ts";

export interface EndingHost {
	readonly machine: Machine;
	/** Writes a domain's core dump to where those belong. */
	saveCore(domain: GuestDomain): Promise<void>;
	/** Creates a domain like the one that has ended, with its UUID. */
	restart(uuid: string): Promise<GuestDomain>;
	/** Nobody wants anything started any more. */
	readonly stopped: () => boolean;
	/** Milliseconds that a domain must have existed before it is started again. */
	readonly restartInterval: number;
}

const PRESERVED = 0x8000;

/**
 * Does what the end's action says.
 * @returns the domain that was started in its place, where one was
 */
export async function followUp(
	domain: GuestDomain,
	{ action }: DomainEnd,
	host: EndingHost,
): Promise<GuestDomain | undefined> {
	if (domain.isDestroyed || action === "preserve") return undefined;
	if (action === "coredump-destroy" || action === "coredump-restart") await saveCore(domain, host);
	const { uuid } = domain;
	const restarts = action === "restart" || action === "rename-restart" || action === "coredump-restart";
	const { uptimeSeconds } = domain.info();
	// Whoever has destroyed it meanwhile wants no other.
	if (domain.isDestroyed) return undefined;
	if (action === "rename-restart") preserve(domain, host.machine);
	else await domain.destroy();
	if (!restarts) return undefined;
	await pass(host.restartInterval - uptimeSeconds * 1000);
	if (host.stopped()) return undefined;
	try {
		return await host.restart(uuid);
	} catch (error) {
		log(host.machine, `domain ${domain.id} (${domain.name}) could not be started again: ${describe(error)}`);
		throw error;
	}
}

/** A dump that cannot be written is no reason to keep the domain. */
async function saveCore(domain: GuestDomain, host: EndingHost): Promise<void> {
	try {
		await host.saveCore(domain);
	} catch (error) {
		log(host.machine, `no core dump of domain ${domain.id} (${domain.name}): ${describe(error)}`);
	}
}

/** libxl_domain_preserve: it makes room for its successor, which gets its name and UUID. */
function preserve(domain: GuestDomain, machine: Machine): void {
	const { clock } = machine.hypervisor;
	const time = new Date((clock.wallClockBase + clock.now()) / 1e6);
	const stamp = `${time.toISOString().slice(0, 16).replaceAll(/[-:]/g, "")}Z`;
	// In a repeatable run, its own number has given its first UUID.
	domain.giveIdentityAway(`${domain.name}-${stamp}`, newUuid(clock.deterministic, domain.id + PRESERVED));
}

async function pass(milliseconds: number): Promise<void> {
	if (milliseconds > 0) await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function describe(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

function log(machine: Machine, text: string): void {
	machine.hypervisor.log.write(text);
}
