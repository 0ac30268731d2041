/** The words of the context block, which both tiers' contexts reach in the same way: in linear memory, at their offsets of layout.ts. */

import { type I32, type I64, i32, i64 } from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { STATE } from "../layout.ts";

const BLOCK = i32.const(STATE);

export abstract class ContextBlock {
	abstract readonly f: FunctionBuilder;

	state8(offset: number): I32 {
		return i32.load8_u(BLOCK, offset);
	}
	state16(offset: number): I32 {
		return i32.load16_u(BLOCK, offset);
	}
	state32(offset: number): I32 {
		return i32.load(BLOCK, offset);
	}
	state64(offset: number): I64 {
		return i64.load(BLOCK, offset);
	}
	setState8(offset: number, value: I32): void {
		this.f.store8(BLOCK, value, offset);
	}
	setState16(offset: number, value: I32): void {
		this.f.store16(BLOCK, value, offset);
	}
	setState32(offset: number, value: I32): void {
		this.f.store32(BLOCK, value, offset);
	}
	setState64(offset: number, value: I64): void {
		this.f.store64(BLOCK, value, offset);
	}
}
