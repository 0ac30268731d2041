/**
 * Addresses of the guest's kernel in emitted code: by the TLB, else by the MMU's walk. What cannot be translated is left to TypeScript, which
 * must find the exception of the exit that it is called for as it was.
 */
import type { ExitServices } from "../../../cpu/exits.ts";
import { CR2, ERROR_CODE, FRAME_HAS_CODE, TLB_READ, TLB_WRITE, VECTOR } from "../../../cpu/layout.ts";
import { tlbEntry, tlbHit, tlbLinear } from "../../../cpu/mmu/inline.ts";
import { Access } from "../../../cpu/processor.ts";
import { FRAME_FLAGS, FRAMES, STATE, TLB } from "../../../memory/map.ts";
import { i32, i64 } from "../../../wasm/expression.ts";
import type { FunctionReference } from "../../../wasm/function.ts";
import type { ModuleBuilder } from "../../../wasm/module.ts";

/** TLB context of the guest's kernel. */
const KERNEL_SPACE = 0;

/** Functions (address) -> linear address, or 0 where the guest's kernel could not read or write there. */
export interface GuestAddresses {
	readonly readable: FunctionReference;
	/** The frame's decoded code is dropped: it may be written. */
	readonly writable: FunctionReference;
}

export function emitGuestAddresses(module: ModuleBuilder, engine: ExitServices): GuestAddresses {
	const emit = (name: string, access: typeof Access.read | typeof Access.write): FunctionReference =>
		module.function(name, ["i64"], "i32", (f) => {
			const state = i32.const(STATE);
			const address = f.parameter(0, "i64");
			const entry = f.let(tlbEntry(i32.const(TLB), address));
			f.if(tlbHit(entry, access === Access.write ? TLB_WRITE : TLB_READ, address, 1), () =>
				f.return(tlbLinear(entry, address)),
			);
			const exception = f.let(i64.load(state, VECTOR));
			const cr2 = f.let(i64.load(state, CR2));
			const linear = f.let(f.callFor("i32", engine.fill, address, i32.const(access), i32.const(KERNEL_SPACE)));
			f.if(i32.eqz(linear), () => {
				f.store64(state, exception, VECTOR);
				f.store64(state, cr2, CR2);
			});
			if (access === Access.write) {
				const frame = f.let(i32.shr_u(i32.sub(linear, i32.const(FRAMES)), i32.const(12)));
				f.if(linear, () =>
					f.if(i32.and(i32.load8_u(frame, FRAME_FLAGS), i32.const(FRAME_HAS_CODE)), () =>
						f.call(engine.codeWritten, frame),
					),
				);
			}
			f.return(linear);
		});
	return { readable: emit("kernelReadable", Access.read), writable: emit("kernelWritable", Access.write) };
}

// The vector and its error code are saved as one word.
if (ERROR_CODE !== VECTOR + 4) throw new Error("the error code does not follow the vector");
