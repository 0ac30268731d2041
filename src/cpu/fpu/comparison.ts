/** Comparison of extended values. Relies on extended.ts. */
import { denormalStops } from "./arithmetic.ts";
import { classify, type Extended, type FloatEnvironment, Kind, Status } from "./extended.ts";

/** Answers of {@link compare}, as C3, C2 and C0 of the status word. */
export const Relation = {
	greater: 0,
	less: Status.C0,
	equal: Status.C3,
	unordered: Status.C3 | Status.C2 | Status.C0,
} as const;
export type Relation = (typeof Relation)[keyof typeof Relation];

/** Compares, raising IE for any NaN, or with `quiet` (FUCOM) only for signalling ones and unsupported values. */
export function compare(environment: FloatEnvironment, a: Extended, b: Extended, quiet: boolean): Relation {
	const aKind = classify(a);
	const bKind = classify(b);
	if (aKind >= Kind.quietNan || bKind >= Kind.quietNan) {
		if (!quiet || aKind > Kind.quietNan || bKind > Kind.quietNan) {
			environment.raise(Status.IE);
		}
		return Relation.unordered;
	}
	denormalStops(environment, aKind, bKind);
	if (aKind === Kind.zero && bKind === Kind.zero) {
		return Relation.equal;
	}
	const aSign = a.signExponent >>> 15;
	if (aSign !== b.signExponent >>> 15) {
		return aSign === 0 ? Relation.greater : Relation.less;
	}
	// A pseudo-denormal has the exponent of the smallest normal number.
	const aExponent = Math.max(a.signExponent & 0x7fff, 1);
	const bExponent = Math.max(b.signExponent & 0x7fff, 1);
	const order = aExponent - bExponent || a.high - b.high || a.low - b.low;
	if (order === 0) {
		return Relation.equal;
	}
	return order > 0 === (aSign === 0) ? Relation.greater : Relation.less;
}
