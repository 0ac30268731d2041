/**
 * Puts the layers together: a hypervisor with this project's processor, and a guest on it with its frames, its console and its
 * first vCPU. The only place that knows all of them.
 */
import type { Domain } from "../xen/domain.ts";
import type { Hypervisor } from "../xen/hypervisor.ts";
import type { GuestConsole } from "./host.ts";
import type { Platform } from "./platform.ts";

export interface GuestRequest {
	readonly name: string;
	readonly kernel: Uint8Array;
	/** Names for messages. */
	readonly kernelName: string;
	readonly ramdisk: Uint8Array | undefined;
	readonly ramdiskName: string;
	readonly commandLine: string;
	/** Bytes. */
	readonly memory: number;
	readonly vcpus: number;
}

export interface BuiltDomain {
	readonly console: GuestConsole;
	/** Hands on what the guest has written and nobody has fetched yet. */
	flush(): void;
	/** Takes the domain off the machine and frees what it had. */
	destroy(): void;
}

export function createMachine(frames: number, clock: "real" | "deterministic", platform: Platform): Hypervisor {
	throw new Error(`no processor yet: ${frames} ${clock} ${platform}`);
}

export function buildGuest(hypervisor: Hypervisor, request: GuestRequest): BuiltDomain & { readonly domain: Domain } {
	throw new Error(`no builder yet: ${hypervisor} ${request}`);
}
