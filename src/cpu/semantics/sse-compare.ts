/** Floating-point comparisons of SSE: CMPccxx to masks, COMISx and UCOMISx to the flags; PTEST beside them. */

import { f32, f32x4, f64, f64x2, type I32, i8x16, i32, i32x4, i64, type V128, v128 } from "../../wasm/expression.ts";
import { SimdOperation } from "../simd/operations.ts";
import type { Context } from "./context.ts";
import { elements, exactCall, exactLeft, exactRight, immediate, sse, toI64 } from "./simd.ts";
import { check, type FloatLanes, onlyFirst, ordered } from "./sse-check.ts";

type Relation = (left: V128, right: V128) => V128;

/** Predicates 0 EQ, 1 LT, 2 LE, 3 UNORD; 4 to 7 are their negations. LT, LE and their negations raise IE for a quiet NaN too. */
function relation(c: Context, by: FloatLanes, predicate: I32, left: V128, right: V128): V128 {
	const kinds: readonly Relation[] = [by.eq, by.lt, by.le, (a, b) => v128.not(v128.and(by.eq(a, a), by.eq(b, b)))];
	const kind = i32.and(predicate, i32.const(3));
	const result = c.f.local("v128");
	if (kind.constant !== undefined) c.f.set(result, kinds[kind.constant]!(left, right));
	else {
		c.f.switch(
			kind,
			kinds.slice(0, 3).map((compare) => () => c.f.set(result, compare(left, right))),
			() => c.f.set(result, kinds[3]!(left, right)),
		);
	}
	const negate = i32.sub(i32.const(0), i32.and(i32.shr_u(predicate, i32.const(2)), i32.const(1)));
	return v128.xor(result, i32x4.splat(negate));
}

const COMPARISONS = [
	{ name: "cmpps", encoding: "np 0f c2 Vx,Wx,Ib", by: f32x4, bits: 32, scalar: false },
	{ name: "cmppd", encoding: "66 0f c2 Vx,Wx,Ib", by: f64x2, bits: 64, scalar: false },
	{ name: "cmpss", encoding: "f3 0f c2 Vx,Wd,Ib", by: f32x4, bits: 32, scalar: true },
	{ name: "cmpsd", encoding: "f2 0f c2 Vx,Wq,Ib", by: f64x2, bits: 64, scalar: true },
] as const;
for (const { name, encoding, by, bits, scalar } of COMPARISONS) {
	const keep = bits === 32 ? elements(4, [0, 5, 6, 7]) : elements(8, [0, 3]);
	sse(name, [encoding], {}, (c, destination, source, choice) => {
		const { f } = c;
		const left = f.local("v128");
		const right = f.local("v128");
		f.set(right, c.readVector(source, !scalar));
		f.set(left, c.readVector(destination));
		const before = f.let(left);
		const predicate = immediate(c, choice, 7);
		const first = (vector: V128): V128 => (scalar ? onlyFirst(by, vector) : vector);
		check(c, {
			by,
			operands: [left, right],
			results: [left, right].map((value) => ({ value, of: "notFinite" })),
			scalar,
			doubtful: () => i32.eqz(ordered(by, first(left), first(right))),
			exact: () => i32.const(1),
			slow: () => {
				const kind = i32.and(predicate, i32.const(3));
				const quietRaises = i32.or(i32.eq(kind, i32.const(1)), i32.eq(kind, i32.const(2)));
				exactCall(c, SimdOperation.compare, scalar ? 1 : 128 / bits, bits, left, right, quietRaises);
				f.set(left, exactLeft());
				f.set(right, exactRight());
			},
		});
		const mask = relation(c, by, predicate, left, right);
		c.writeVector(destination, scalar ? i8x16.shuffle(mask, before, keep) : mask);
	});
}

const FLAG_COMPARISONS = [
	{ name: "ucomiss", encoding: "np 0f 2e Vx,Wd", bits: 32, quietRaises: 0 },
	{ name: "ucomisd", encoding: "66 0f 2e Vx,Wq", bits: 64, quietRaises: 0 },
	{ name: "comiss", encoding: "np 0f 2f Vx,Wd", bits: 32, quietRaises: 1 },
	{ name: "comisd", encoding: "66 0f 2f Vx,Wq", bits: 64, quietRaises: 1 },
] as const;
for (const { name, encoding, bits, quietRaises } of FLAG_COMPARISONS) {
	const by = bits === 32 ? f32x4 : f64x2;
	sse(name, [encoding], { access: "r r" }, (c, first, second) => {
		const { f } = c;
		const left = f.local("v128");
		const right = f.local("v128");
		f.set(right, c.readVector(second));
		f.set(left, c.readVector(first));
		const compare = (relation: "lt" | "gt" | "eq"): I32 =>
			bits === 32
				? f32[relation](f32x4.extract(left, 0), f32x4.extract(right, 0))
				: f64[relation](f64x2.extract(left, 0), f64x2.extract(right, 0));
		const less = f.local("i32");
		const greater = f.local("i32");
		const equal = f.local("i32");
		const evaluate = (): void => {
			f.set(less, compare("lt"));
			f.set(greater, compare("gt"));
			f.set(equal, compare("eq"));
		};
		evaluate();
		check(c, {
			by,
			operands: [left, right],
			scalar: true,
			doubtful: () => i32.eqz(i32.or(i32.or(less, greater), equal)),
			doubtfulFirst: true,
			exact: () => i32.const(1),
			slow: () => {
				exactCall(c, SimdOperation.compare, 1, bits, left, right, i32.const(quietRaises));
				f.set(left, exactLeft());
				f.set(right, exactRight());
				evaluate();
			},
		});
		// ZF, PF, CF are 111 unordered, 000 greater, 001 less, 100 equal. A result of 0 has even parity: equal flips it.
		const below = toI64(i32.eqz(i32.or(greater, equal)));
		c.setFlags(
			toI64(i32.or(less, greater)),
			i64.or(i64.shl(i64.sub(i64.const(0), below), i64.const(62)), i64.shl(toI64(equal), i64.const(8))),
		);
	});
}

/** PTEST: ZF where no bit is set in both, CF where none of the source's is missing in the destination. */
sse("ptest", ["66 0f 38 17 Vx,Wx"], { access: "r r" }, (c, first, second) => {
	const right = c.readVector(second, true);
	const left = c.readVector(first);
	const common = toI64(v128.any_true(v128.and(left, right)));
	const covered = toI64(i32.eqz(v128.any_true(v128.andnot(right, left))));
	const result = c.f.let(common);
	// PF is clear: a result of 0 has it set, so it is flipped.
	const parity = i64.shl(i64.xor(result, i64.const(1)), i64.const(8));
	c.setFlags(result, i64.or(i64.shl(i64.sub(i64.const(0), covered), i64.const(62)), parity));
});
