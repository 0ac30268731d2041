/**
 * Builds the body of one WebAssembly function: locals, structured control flow by label objects, stores and calls.
 * Statements are written in the order of the calls; {@link Expression}s carry everything that yields a value.
 */
import { ByteWriter, VALUE_TYPE_CODE, type ValueType } from "./encoding.ts";
import { type Expression, type GlobalReference, type I32, type I64, Local, type V128, written } from "./expression.ts";

/** The target of a branch: a block's end or a loop's start. */
export interface Label {
	readonly depth: number;
}

/** A function that can be called: an import or one of the module's own, by index. */
export interface FunctionReference {
	readonly index: number;
	readonly parameters: readonly ValueType[];
	readonly result: ValueType | undefined;
}

/** A finished function. Offsets are from its start in the code section, local declarations included. */
export interface FunctionBody {
	readonly bytes: Uint8Array;
	readonly hints: readonly { readonly offset: number; readonly likely: boolean }[];
}

const EMPTY_BLOCK = 0x40;
/** Bytes that most functions do not exceed. */
const ROOM = 16_384;

export class FunctionBuilder {
	code = new ByteWriter(ROOM);
	private readonly head = new ByteWriter();
	private readonly localTypes: ValueType[];
	private depth = 0;
	private readonly hints: { readonly position: number; readonly likely: boolean }[] = [];
	/** How many blocks, loops and conditionals are open. */
	get nesting(): number {
		return this.depth;
	}
	/** Locals given back by {@link scratch}, by type. */
	private readonly free = new Map<ValueType, Local[]>();
	/** What the innermost {@link scratch} has allocated. */
	private scope: Local[] | undefined;

	constructor(
		readonly parameters: readonly ValueType[],
		readonly result: ValueType | undefined,
	) {
		this.localTypes = [...parameters];
	}

	parameter<T extends ValueType>(index: number, type: T): Local<T> {
		if (this.parameters[index] !== type) throw new TypeError(`parameter ${index} is not ${type}`);
		return new Local(type, index);
	}

	local<T extends ValueType>(type: T): Local<T> {
		let local = this.free.get(type)?.pop() as Local<T> | undefined;
		if (local === undefined) {
			this.localTypes.push(type);
			local = new Local(type, this.localTypes.length - 1);
		}
		this.scope?.push(local);
		return local;
	}

	/** Makes a local available to later {@link local} calls; its value is dead from here on. */
	private release(local: Local): void {
		const list = this.free.get(local.type);
		if (list === undefined) this.free.set(local.type, [local]);
		else list.push(local);
	}

	/** Runs `body`; every local allocated inside it is given back afterwards. Keeps large switch functions small. */
	scratch(body: () => void): void {
		const outer = this.scope;
		const scope: Local[] = [];
		this.scope = scope;
		body();
		this.scope = outer;
		for (const local of scope) this.release(local);
	}

	/** Code that runs before everything else, whenever it is written. */
	prologue(write: () => void): void {
		const body = this.code;
		this.code = this.head;
		write();
		this.code = body;
	}

	set<T extends ValueType>(local: Local<T>, value: Expression<NoInfer<T>>): void {
		value.emit(this.code);
		this.code.byte(0x21);
		this.code.u32(local.local);
	}

	/** Evaluates `value` now, once. Constants and locals' values that are not bound stay as they are. */
	let<T extends ValueType>(value: Expression<T>): Expression<T> {
		if (value.isConstant) return value;
		const local = this.local(value.type);
		this.set(local, value);
		return value.relative === undefined ? local : local.knownAs(value.relative);
	}

	setGlobal<T extends ValueType>(global: GlobalReference<T>, value: Expression<NoInfer<T>>): void {
		value.emit(this.code);
		this.code.byte(0x24);
		this.code.u32(global.global);
	}

	private store(opcode: number, address: I32, value: Expression, offset: number): void {
		address.emit(this.code);
		value.emit(this.code);
		this.code.byte(opcode);
		this.code.byte(0);
		this.code.u32(offset);
	}
	store32(address: I32, value: I32, offset = 0): void {
		this.store(0x36, address, value, offset);
	}
	store64(address: I32, value: I64, offset = 0): void {
		this.store(0x37, address, value, offset);
	}
	storeF32(address: I32, value: Expression<"f32">, offset = 0): void {
		this.store(0x38, address, value, offset);
	}
	storeF64(address: I32, value: Expression<"f64">, offset = 0): void {
		this.store(0x39, address, value, offset);
	}
	/** The low 8 bits of an i32 or an i64. */
	store8(address: I32, value: I32 | I64, offset = 0): void {
		this.store(value.type === "i32" ? 0x3a : 0x3c, address, value, offset);
	}
	store16(address: I32, value: I32 | I64, offset = 0): void {
		this.store(value.type === "i32" ? 0x3b : 0x3d, address, value, offset);
	}
	/** The low 32 bits of an i64. */
	store32of64(address: I32, value: I64, offset = 0): void {
		this.store(0x3e, address, value, offset);
	}
	storeV128(address: I32, value: V128, offset = 0): void {
		address.emit(this.code);
		value.emit(this.code);
		this.code.bytes([0xfd, 0x0b, 0]);
		this.code.u32(offset);
	}

	memoryCopy(destination: I32, source: I32, length: I32): void {
		destination.emit(this.code);
		source.emit(this.code);
		length.emit(this.code);
		this.code.bytes([0xfc, 0x0a, 0, 0]);
	}
	memoryFill(destination: I32, byte: I32, length: I32): void {
		destination.emit(this.code);
		byte.emit(this.code);
		length.emit(this.code);
		this.code.bytes([0xfc, 0x0b, 0]);
	}

	private open(opcode: number, body: (label: Label) => void): void {
		this.code.byte(opcode);
		this.code.byte(EMPTY_BLOCK);
		const label = { depth: ++this.depth };
		body(label);
		this.depth--;
		this.code.byte(0x0b);
	}

	/** `br` to the label leaves the block. */
	block(body: (end: Label) => void): void {
		this.open(0x02, body);
	}
	/** `br` to the label starts the loop again; falling out of the body leaves it. */
	loop(body: (start: Label) => void): void {
		this.open(0x03, body);
	}
	/** {@link if}, where the condition is hardly ever true: V8 keeps that code away from the rest. */
	unlikely(condition: I32, then: () => void): void {
		this.if(condition, then, undefined, false);
	}
	/** {@link if}, where the condition is nearly always true. */
	likely(condition: I32, then: () => void, otherwise?: () => void): void {
		this.if(condition, then, otherwise, true);
	}
	if(condition: I32, then: () => void, otherwise?: () => void, likely?: boolean): void {
		condition.emit(this.code);
		// What is written to the prologue is not where the rest will be.
		if (likely !== undefined && this.code !== this.head) this.hints.push({ position: this.code.length, likely });
		this.open(0x04, () => {
			then();
			if (otherwise !== undefined) {
				this.code.byte(0x05);
				otherwise();
			}
		});
	}
	br(label: Label): void {
		this.code.byte(0x0c);
		this.code.u32(this.depth - label.depth);
	}
	brIf(label: Label, condition: I32): void {
		condition.emit(this.code);
		this.code.byte(0x0d);
		this.code.u32(this.depth - label.depth);
	}
	brTable(index: I32, labels: readonly Label[], otherwise: Label): void {
		index.emit(this.code);
		this.code.byte(0x0e);
		this.code.u32(labels.length);
		for (const label of labels) this.code.u32(this.depth - label.depth);
		this.code.u32(this.depth - otherwise.depth);
	}

	/**
	 * A switch: `cases[i]` runs for index i, `otherwise` for every other index. A case falls out of the switch at its end
	 * unless it branches.
	 */
	switch(index: I32, cases: readonly (() => void)[], otherwise: () => void): void {
		this.block((end) => {
			const labels: Label[] = [];
			const nest = (remaining: number): void => {
				if (remaining < 0) {
					this.brTable(index, labels.slice(0, -1), labels[labels.length - 1]!);
					return;
				}
				this.block((label) => {
					labels[remaining] = label;
					nest(remaining - 1);
				});
				this.scratch(() => {
					if (remaining === cases.length) otherwise();
					else cases[remaining]!();
				});
				this.br(end);
			};
			nest(cases.length);
		});
	}

	call(target: FunctionReference, ...operands: Expression[]): void {
		if (target.result !== undefined) throw new TypeError("call of a function with a result: use callFor");
		this.emitCall(target, operands, this.code);
	}
	/** An expression: the call happens where the expression is used. */
	callFor<T extends ValueType>(type: T, target: FunctionReference, ...operands: Expression[]): Expression<T> {
		if (target.result !== type) throw new TypeError(`the function does not return ${type}`);
		return written(type, (code) => this.emitCall(target, operands, code));
	}
	private emitCall(target: FunctionReference, operands: readonly Expression[], code: ByteWriter): void {
		for (const [index, operand] of operands.entries()) {
			if (operand.type !== target.parameters[index]) throw new TypeError(`operand ${index} of the call`);
			operand.emit(code);
		}
		if (operands.length !== target.parameters.length) throw new TypeError("number of operands of the call");
		code.byte(0x10);
		code.u32(target.index);
	}

	/** An expression: `call_indirect` through table 0 with the function type `typeIndex`. */
	callIndirect<T extends ValueType>(
		type: T,
		typeIndex: number,
		element: I32,
		...operands: Expression[]
	): Expression<T> {
		return written(type, (code) => {
			for (const operand of operands) operand.emit(code);
			element.emit(code);
			code.byte(0x11);
			code.u32(typeIndex);
			code.byte(0);
		});
	}

	drop(value: Expression): void {
		value.emit(this.code);
		this.code.byte(0x1a);
	}
	return(value?: Expression): void {
		value?.emit(this.code);
		this.code.byte(0x0f);
	}
	unreachable(): void {
		this.code.byte(0x00);
	}

	/** The function's entry of the code section, and which conditions in it are likely: for the section of branch hints. */
	finish(): FunctionBody {
		const head = this.head.finish();
		const code = this.code.finish();
		const out = new ByteWriter(head.length + code.length + 256);
		const runs: [ValueType, number][] = [];
		for (const type of this.localTypes.slice(this.parameters.length)) {
			const last = runs[runs.length - 1];
			if (last !== undefined && last[0] === type) last[1]++;
			else runs.push([type, 1]);
		}
		out.u32(runs.length);
		for (const [type, count] of runs) {
			out.u32(count);
			out.byte(VALUE_TYPE_CODE[type]);
		}
		out.bytes(head);
		const start = out.length;
		out.bytes(code);
		// A body that always branches or returns still needs a type-correct end.
		if (this.result !== undefined) out.byte(0x00);
		out.byte(0x0b);
		const hints = this.hints.map(({ position, likely }) => ({ offset: start + position, likely }));
		return { bytes: out.finish(), hints };
	}
}
