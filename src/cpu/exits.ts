/**
 * The seam for exits that need not leave WebAssembly: an environment may emit code of its own into the engine's main module, which the dispatcher
 * asks before it returns an exit. The processor still knows nothing of what the code does.
 */
import type { FunctionReference } from "./wasm/function.ts";
import type { ModuleBuilder } from "./wasm/module.ts";

/** What the engine's module offers to such code. */
export interface ExitServices {
	/** (address i64, access, space) -> linear address of the byte, or 0 with the exception in the context block: mmu/walk.ts. */
	readonly fill: FunctionReference;
	/** (mfn): to be called before bytes of a frame with FRAME_HAS_CODE change. */
	readonly codeWritten: FunctionReference;
}

/**
 * Emits a function (exit, fuel left) -> i32. It is called with all registers in the context block, as {@link Processor.run} would return them.
 * 1: the exit is dealt with, the run goes on at RIP in the context block's address space and mode, and one of the fuel is gone.
 * 0: it has changed nothing, and the exit is TypeScript's.
 */
export type ExitEmitter = (module: ModuleBuilder, engine: ExitServices) => FunctionReference;
