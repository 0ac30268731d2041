/**
 * The x87's loads, stores and exchanges: operand formats, stack faults, pops (Intel SDM volume 2). Relies on stack.ts and
 * conversion.ts.
 */
import type { Memory } from "../../memory/memory.ts";
import { type Constant, loadConstant } from "./constants.ts";
import {
	fromDecimal,
	fromFloat32,
	fromFloat64,
	fromInteger64,
	setDecimalIndefinite,
	setFloatIndefinite,
	setIntegerIndefinite,
	stored,
	toDecimal,
	toFloat,
	toInteger,
} from "./conversion.ts";
import { classify, Extended, Kind, propagateOne, Status, setIndefinite } from "./extended.ts";
import type { Execute, Source } from "./operations.ts";
import { fromSmallInteger } from "./scaling.ts";
import {
	begin,
	environment,
	finish,
	isEmpty,
	overflow,
	pop,
	push,
	read,
	stackFault,
	underflow,
	write,
} from "./stack.ts";

const a = new Extended();
const b = new Extended();
const result = new Extended();

export const float32: Source = (memory, address, into) => fromFloat32(environment, memory.u32(address), into);
export const float64: Source = (memory, address, into) =>
	fromFloat64(environment, memory.u32(address + 4), memory.u32(address), into);
export const integer16: Source = (memory, address, into) => fromSmallInteger((memory.u16(address) << 16) >> 16, into);
export const integer32: Source = (memory, address, into) => fromSmallInteger(memory.i32(address), into);
export const integer64: Source = (memory, address, into) =>
	fromInteger64(memory.i32(address + 4), memory.i32(address), into);
const float80: Source = (memory, address, into) =>
	into.set(memory.u16(address + 8), memory.u32(address + 4), memory.u32(address));
const decimal80: Source = (memory, address, into) =>
	fromDecimal(memory.u32(address), memory.u32(address + 4), memory.u16(address + 8), into);

/** FLD m32fp and m64fp: signalling NaNs are quieted and denormals reported. FILD cannot fault but for the stack. */
export function loadMemory(source: Source): Execute {
	return (memory, base, operand) => {
		begin(memory, base);
		if (!isEmpty(memory, base, -1)) {
			overflow(memory, base);
			return;
		}
		source(memory, operand, a);
		const kind = classify(a);
		let stores = true;
		if (kind === Kind.signallingNan) {
			stores = propagateOne(environment, a, kind, a);
		} else if (environment.denormalSource) {
			// Reported after the value is loaded, masked or not (processors do so; only #I keeps it out).
			environment.raise(Status.DE);
		}
		if (stores) {
			push(memory, base, a);
		}
		finish(memory, base);
	};
}

/** FLD m80fp and FBLD, which take every bit pattern as it is. */
function loadExact(source: Source): Execute {
	return (memory, base, operand) => {
		begin(memory, base);
		if (!isEmpty(memory, base, -1)) {
			overflow(memory, base);
			return;
		}
		source(memory, operand, a);
		push(memory, base, a);
		finish(memory, base);
	};
}
export const loadFloat80 = loadExact(float80);
export const loadDecimal = loadExact(decimal80);

export const loadRegister: Execute = (memory, base, i) => {
	begin(memory, base);
	if (isEmpty(memory, base, i)) {
		if (stackFault(memory, base, false)) {
			setIndefinite(result);
			push(memory, base, result);
		}
	} else if (!isEmpty(memory, base, -1)) {
		overflow(memory, base);
	} else {
		read(memory, base, i, a);
		push(memory, base, a);
		finish(memory, base);
	}
};

export function loadConstantOperation(constant: Constant): Execute {
	return (memory, base) => {
		begin(memory, base);
		if (!isEmpty(memory, base, -1)) {
			overflow(memory, base);
			return;
		}
		loadConstant(environment, constant, a);
		push(memory, base, a);
		finish(memory, base);
	};
}

/** Ends a store: the memory operand and the pop, where `stores`. */
function finishStore(
	memory: Memory,
	base: number,
	address: number,
	size: number,
	stores: boolean,
	pops: boolean,
): void {
	if (stores) {
		if (size === 2) {
			memory.setU16(address, stored.low);
		} else {
			memory.setU32(address, stored.low);
		}
		if (size >= 8) {
			memory.setU32(address + 4, stored.high);
		}
		if (size === 10) {
			memory.setU16(address + 8, stored.top);
		}
		if (pops) {
			pop(memory, base);
		}
	}
}

/** FST and FSTP to single (24) or double (53) precision. */
export function storeFloat(precision: 24 | 53, pops: boolean): Execute {
	const size = precision === 24 ? 4 : 8;
	return (memory, base, operand) => {
		begin(memory, base);
		let stores: boolean;
		if (isEmpty(memory, base, 0)) {
			stores = stackFault(memory, base, false);
			setFloatIndefinite(precision);
		} else {
			read(memory, base, 0, a);
			stores = toFloat(environment, a, precision);
			finish(memory, base);
		}
		finishStore(memory, base, operand, size, stores, pops);
	};
}

/** FIST, FISTP and, with `truncate`, FISTTP. */
export function storeInteger(bits: 16 | 32 | 64, pops: boolean, truncate: boolean): Execute {
	return (memory, base, operand) => {
		begin(memory, base);
		let stores: boolean;
		if (isEmpty(memory, base, 0)) {
			stores = stackFault(memory, base, false);
			setIntegerIndefinite(bits);
		} else {
			read(memory, base, 0, a);
			stores = toInteger(environment, a, bits, truncate);
			finish(memory, base);
		}
		finishStore(memory, base, operand, bits / 8, stores, pops);
	};
}

export const storeDecimal: Execute = (memory, base, operand) => {
	begin(memory, base);
	let stores: boolean;
	if (isEmpty(memory, base, 0)) {
		stores = stackFault(memory, base, false);
		setDecimalIndefinite();
	} else {
		read(memory, base, 0, a);
		stores = toDecimal(environment, a);
		finish(memory, base);
	}
	finishStore(memory, base, operand, 10, stores, true);
};

export const storeFloat80: Execute = (memory, base, operand) => {
	begin(memory, base);
	let stores = true;
	if (isEmpty(memory, base, 0)) {
		stores = stackFault(memory, base, false);
		setIndefinite(a);
	} else {
		read(memory, base, 0, a);
		finish(memory, base);
	}
	stored.low = a.low;
	stored.high = a.high;
	stored.top = a.signExponent;
	finishStore(memory, base, operand, 10, stores, true);
};

/** FST ST(i) and FSTP ST(i). */
export function storeRegister(pops: boolean): Execute {
	return (memory, base, i) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0)) {
			underflow(memory, base, i, pops);
			return;
		}
		read(memory, base, 0, a);
		write(memory, base, i, a);
		if (pops) {
			pop(memory, base);
		}
		finish(memory, base);
	};
}

/** D9 D8+i, an alias of FSTP that stores nothing from an empty register but pops it without a fault. */
export const storeRegisterUnchecked: Execute = (memory, base, i) => {
	begin(memory, base);
	if (!isEmpty(memory, base, 0)) {
		read(memory, base, 0, a);
		write(memory, base, i, a);
	}
	pop(memory, base);
	finish(memory, base);
};

/** FXCH: an empty register is exchanged as the indefinite where that is masked. */
export const exchange: Execute = (memory, base, i) => {
	begin(memory, base);
	const empty0 = isEmpty(memory, base, 0);
	const emptyI = isEmpty(memory, base, i);
	if (empty0 || emptyI) {
		if (!stackFault(memory, base, false)) {
			return;
		}
	} else {
		finish(memory, base);
	}
	read(memory, base, 0, a);
	read(memory, base, i, b);
	if (empty0) {
		setIndefinite(a);
	}
	if (emptyI) {
		setIndefinite(b);
	}
	write(memory, base, 0, b);
	write(memory, base, i, a);
};
