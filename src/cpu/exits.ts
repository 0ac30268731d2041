/**
 * The seam for exits that need not leave WebAssembly: an environment may emit code of its own into the engine's main module, which the dispatcher
 * asks before it returns an exit. The processor still knows nothing of what the code does.
 */
import type { FunctionReference } from "../wasm/function.ts";
import type { ModuleBuilder } from "../wasm/module.ts";

/** What the engine's module offers to such code. */
export interface ExitServices {
	/** (address i64, access, space) -> linear address of the byte, or 0 with the exception in the context block: mmu/walk.ts. */
	readonly fill: FunctionReference;
	/** (mfn): to be called before bytes of a frame with FRAME_HAS_CODE change. */
	readonly codeWritten: FunctionReference;
}

/** What such code says of an exit. */
export const ExitOutcome = {
	/** Nothing was changed: the exit is TypeScript's. */
	left: 0,
	/** It is dealt with, and the run goes on at RIP in the context block's address space and mode. One of the fuel is gone. */
	done: 1,
	/** The same, but the run ends with Exit.handled: something else is TypeScript's. */
	ends: 2,
} as const;

/**
 * Emits a function (exit, fuel left) -> ExitOutcome. It is called with all registers in the context block, as {@link Processor.run} would return
 * them, flags as words.
 */
export type ExitEmitter = (module: ModuleBuilder, engine: ExitServices) => FunctionReference;
