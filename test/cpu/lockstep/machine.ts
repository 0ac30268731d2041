/**
 * A machine with one guest whose processor can be watched: a hook sees every stretch of guest code, with the registers as the stretch left them. With
 * the deterministic clock two such machines make the same stretches, whatever their tiers.
 */
import { createHash } from "node:crypto";
import type { Engine, EngineOptions } from "../../../src/cpu/engine.ts";
import * as layout from "../../../src/cpu/layout.ts";
import type { Exit } from "../../../src/cpu/processor.ts";
import type { DomainOptions } from "../../../src/host/host.ts";
import { machineOverhead } from "../../../src/host/machine.ts";
import { Host } from "../../../src/host/node.ts";

class WatchedHost extends Host {
	get engine(): Engine {
		return this.machine.hypervisor.processor as Engine;
	}
	/** The name of an address, by the kernel's symbols. */
	symbolAt(address: number): string | undefined {
		for (const domain of this.machine.hypervisor.domains.values()) {
			const name = domain.symbolAt?.(address);
			if (name !== undefined) return name;
		}
		return undefined;
	}
}

/** Runs a stretch: the processor's own run(), or what is done in its place. */
export type Stretch = (fuel: number, run: (fuel: number) => Exit) => Exit;

export interface WatchedOptions extends DomainOptions {
	readonly memory: number;
	readonly processor: EngineOptions;
	/** Typed on the console before the guest's first instruction; or, where `inputAfter` is given, once the guest has written that. */
	readonly input: string;
	readonly inputAfter?: string;
	readonly onOutput?: (data: Uint8Array) => void;
}

export interface WatchedMachine {
	readonly engine: Engine;
	symbolAt(address: number): string | undefined;
	/** Resolved when the guest has ended or the machine was stopped. */
	readonly ended: Promise<void>;
	stop(): void;
}

export async function watchedMachine(
	options: WatchedOptions,
	stretch: (engine: Engine) => Stretch,
): Promise<WatchedMachine> {
	const host = new WatchedHost({
		memory: options.memory + machineOverhead(options.memory),
		clock: "deterministic",
		// Every exit is to be seen: what deals with them in WebAssembly is compared in test/xen/pv/fast-paths.test.ts.
		processor: { ...options.processor, emittedExits: false },
	});
	const { engine } = host;
	const original = engine.run.bind(engine);
	const around = stretch(engine);
	engine.run = (fuel) => around(fuel, original);
	let stopped: () => void = () => {};
	const stop = new Promise<void>((resolve) => {
		stopped = resolve;
	});
	const { processor: _, input, inputAfter, onOutput, ...ofDomain } = options;
	const domain = await host.createDomain(ofDomain, ({ console }) => {
		if (onOutput !== undefined) console.onOutput(onOutput);
		if (input === "") return;
		if (inputAfter === undefined) console.write(input);
		else {
			let seen = "";
			const detach = console.onOutput((data) => {
				seen = (seen + Buffer.from(data).toString("latin1")).slice(-4096);
				if (!seen.includes(inputAfter)) return;
				detach();
				console.write(input);
			});
		}
	});
	return {
		engine,
		symbolAt: (address) => host.symbolAt(address),
		ended: Promise.race([domain.ended.then(() => {}), stop, host.failed]),
		stop() {
			host.stop();
			stopped();
		},
	};
}

const WORDS = [
	[layout.REGISTERS, 16 * 8],
	[layout.RIP, 8],
	[layout.FLAGS_OTHER, 4],
	[layout.SELECTORS, 12],
	[layout.XMM, 256],
	[layout.MXCSR, 4],
	[layout.X87_REGISTERS, layout.DEBUG_REGISTERS - layout.X87_REGISTERS],
] as const;

/**
 * A number that differs where registers, flags or the number of executed instructions do. CR2 is left out: decoding ahead may set it before a
 * fault that happens.
 */
export function registerDigest(engine: Engine): number {
	const { memory } = engine;
	let digest = engine.executed | 0;
	for (const [start, bytes] of WORDS) {
		for (let at = layout.STATE + start; at < layout.STATE + start + bytes; at += 4) {
			digest = Math.imul(digest ^ memory.u32(at), 0x85eb_ca6b);
			digest ^= digest >>> 15;
		}
	}
	for (const base of [layout.SLOT_FS_BASE, layout.SLOT_GS_BASE]) {
		digest = Math.imul(digest ^ memory.u32(layout.STATE + base * 8), 0xc2b2_ae35);
		digest ^= memory.u32(layout.STATE + base * 8 + 4);
	}
	return (Math.imul(digest, 31) + registersOf(engine).rflags) >>> 0;
}

/** The running context's registers. */
export function registersOf(engine: Engine): ReturnType<Engine["context"]> {
	// Contexts know where they are: the running one's base is STATE.
	for (let index = 0; ; index++) {
		const registers = engine.context(index);
		if (registers.base === layout.STATE) return registers;
	}
}

/** Digest of all machine frames. */
export function memoryDigest(engine: Engine): string {
	const { memory } = engine;
	const hash = createHash("sha1");
	hash.update(memory.bytes.subarray(layout.FRAMES, layout.FRAMES + memory.frames * layout.PAGE_SIZE));
	return hash.digest("hex");
}
