/**
 * RDTSC without a question to the host each time: for a moment after the environment was asked, the time stamp goes on with the instructions that are
 * executed, more slowly than the host's clock does, and never back. Asking takes as long as a hundred instructions, and in a browser the answer
 * stays the same for many microseconds.
 */

import { i32, i64, select } from "../../wasm/expression.ts";
import type { FunctionReference } from "../../wasm/function.ts";
import type { ModuleBuilder } from "../../wasm/module.ts";
import * as layout from "../layout.ts";

/** Ticks are instructions divided by 2 to this: no guest executes four a nanosecond. */
const TICK_SHIFT = 2;

const zero = i32.const(0);

/**
 * Emits (fuel left) -> i64 time stamp.
 * @param ask import () -> f64: the environment's time stamp; RUN_LEFT tells it the moment. It sets TSC_WINDOW.
 */
export function emitTimeStamp(module: ModuleBuilder, ask: FunctionReference): FunctionReference {
	return module.function("timeStamp", ["i32"], "i64", (f) => {
		const left = f.parameter(0, "i32");
		const since = f.let(i32.sub(i32.load(zero, layout.TSC_LEFT), left));
		const last = f.let(i64.load(zero, layout.TSC_LAST));
		const now = f.local("i64");
		f.if(
			i32.lt_u(since, i32.load(zero, layout.TSC_WINDOW)),
			() =>
				f.set(now, i64.add(i64.load(zero, layout.TSC_BASE), i64.extend_i32_u(i32.shr_u(since, i32.const(TICK_SHIFT))))),
			() => {
				f.store32(zero, left, layout.RUN_LEFT);
				f.set(now, i64.trunc_sat_f64_u(f.callFor("f64", ask)));
				f.set(now, select(i64.lt_u(now, last), last, now));
				f.store32(zero, left, layout.TSC_LEFT);
				f.store64(zero, now, layout.TSC_BASE);
			},
		);
		f.store64(zero, now, layout.TSC_LAST);
		f.return(now);
	});
}
