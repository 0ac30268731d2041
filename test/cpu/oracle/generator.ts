/**
 * Makes cases: an instruction of the table (or several in a row), and a processor's state to run it in. Case `index` of a seed is always
 * the same, whatever was generated before it.
 */
import type { InstructionForm } from "../../../src/cpu/semantics/table.ts";
import { CaseWriter, RSP } from "./case.ts";
import { Encoder, newEncoded } from "./encode.ts";
import { type GraphPlan, GraphPlanner, GraphWriter } from "./graphs.ts";
import { Random } from "./random.ts";
import { Case, type CaseBatch, CODE, DATA, DATA_BYTES, READ_ONLY_BYTES, SLOT_BYTES, SLOTS, slotOf } from "./records.ts";
import { UndefinedAlong } from "./sequences.ts";
import { adjust, prepare } from "./special.ts";
import { mnemonic } from "./undefined.ts";
import { background, putExtended, putInteger, putVector } from "./values.ts";

export interface GeneratorOptions {
	readonly seed: number;
	/** Instructions of a case; each is drawn from the forms. */
	readonly length: number;
	/** 64-bit mode (false), compatibility mode (true). */
	readonly compatibility: boolean;
	/** Control-flow graphs instead of sequences. */
	readonly graphs?: boolean;
}

const ARITHMETIC = 0x8d5;
const DEFAULT_MXCSR = 0x1f80;
const DEFAULT_CONTROL = 0x037f;
/** Bytes that instructions in a row may take. */
const STRAIGHT_CODE = 80;

function usesFile(form: InstructionForm, file: "xmm" | "mmx"): boolean {
	return form.operands.some((operand) => operand.file === file);
}

/** x87 escapes, EMMS and FXSAVE are told by their opcodes; MMX by its operands. */
function usesX87(form: InstructionForm): boolean {
	if (usesFile(form, "mmx")) return true;
	if (form.map === 0) return (form.opcode >= 0xd8 && form.opcode <= 0xdf) || form.opcode === 0x9b;
	return form.map === 1 && (form.opcode === 0x77 || form.opcode === 0xae);
}

function usesVectors(form: InstructionForm): boolean {
	return usesFile(form, "xmm") || (form.map === 1 && form.opcode === 0xae);
}

/** Branches are stepped over: they may lead anywhere. */
function isBranch(form: InstructionForm): boolean {
	return /^(j|loop|call|ret)/.test(form.name) && !/^(retf|callf|jmpf)$/.test(form.name);
}

/** They store or load TF, hold traps back, or are traps. */
const SHOWS_TRAP_FLAG = /^(pushf|popf|iret|int|int3|into|pop|mov|lss)$/;

/** What follows in a sequence would depend on what such a segment is; they are tested singly. */
function loadsSegment(form: InstructionForm): boolean {
	if (/^(l[defgs]s|callf|jmpf|retf|iret)$/.test(form.name)) return true;
	return form.operands.some(({ kind }) => kind === "segment") || (form.name === "pop" && form.operands.length === 0);
}

interface Traits {
	readonly x87: boolean;
	readonly vectors: boolean;
	readonly branch: boolean;
}

/** Contents of the data pages behind every case of every seed. */
export function commonBackground(): Uint8Array {
	return background(new Random(1), DATA_BYTES + READ_ONLY_BYTES);
}

export class Generator {
	private readonly random: Random;
	private readonly encoder: Encoder;
	readonly encoded = newEncoded();
	private readonly traits: readonly Traits[];
	private readonly planner: GraphPlanner;
	private readonly graphs: GraphWriter;

	constructor(
		readonly forms: readonly InstructionForm[],
		readonly options: GeneratorOptions,
	) {
		this.random = new Random(0);
		this.encoder = new Encoder(this.random, this.encoded);
		this.traits = forms.map((form) => ({
			x87: usesX87(form),
			vectors: usesVectors(form),
			branch: isBranch(form),
		}));
		this.planner = new GraphPlanner(forms, (form) => isBranch(form) || loadsSegment(form));
		this.graphs = new GraphWriter(this.random, this.encoder, forms);
	}

	/** Indices into {@link forms} of the instructions of case `index`. */
	formIndices(index: number): number[] {
		this.start(index);
		return this.options.graphs === true ? formsOf(this.planner.plan(this.random)) : this.draw(index);
	}

	private start(index: number): void {
		this.random.seed(Math.imul(this.options.seed, 0x9e37_79b1) ^ Math.imul(index, 0x85eb_ca77));
	}

	private draw(index: number): number[] {
		const { forms, random, traits } = this;
		const { length } = this.options;
		// Single instructions take turns, so that each form gets its share however few the cases are.
		if (length === 1) return [index % forms.length];
		const drawn: number[] = [];
		const flags = new UndefinedAlong();
		for (let tries = 0; drawn.length < length && tries < length * 40; tries++) {
			const candidate = random.below(forms.length);
			const name = mnemonic(forms[candidate]!);
			if (traits[candidate]!.branch && drawn.length < length - 1) continue;
			if (loadsSegment(forms[candidate]!)) continue;
			if (!flags.allows(name)) continue;
			flags.add(name);
			drawn.push(candidate);
		}
		if (drawn.length === 0) drawn.push(index % forms.length);
		return drawn;
	}

	/** Writes case `index` of the seed to place `at` of the batch. */
	generate(index: number, test: CaseWriter, at: number): void {
		const { random, encoder, encoded, forms, traits } = this;
		this.start(index);
		const plan = this.options.graphs === true ? this.planner.plan(random) : undefined;
		const drawn = plan === undefined ? this.draw(index) : formsOf(plan);
		test.begin(at);
		const { view, base } = test;
		if (this.options.compatibility) view.setUint8(base + Case.mode, 1);
		this.registers(test);
		let vectors = false;
		let x87 = false;
		for (const form of drawn) {
			vectors ||= traits[form]!.vectors;
			x87 ||= traits[form]!.x87;
		}
		this.floatingPoint(test, vectors, x87);

		const slot = slotOf(index);
		if (plan !== undefined) {
			// The last of the sixteen that share the code pages: what it overwrites makes the others' regions void.
			this.graphs.write(plan, test, CODE, slot, index % SLOTS === SLOTS - 1);
			if (this.options.compatibility) this.cutRegisters(test);
			return;
		}
		const slotStart = CODE + slot * SLOT_BYTES;
		const reach = 136;
		let rip = slotStart + reach + random.below(SLOT_BYTES - 2 * reach - STRAIGHT_CODE);
		// Across the two pages, or over the end of the second, behind which nothing is mapped.
		const lastOfPage = slot % (SLOTS / 2) === SLOTS / 2 - 1;
		if (drawn.length === 1 && lastOfPage && random.once(4)) rip = slotStart + SLOT_BYTES - random.between(1, 12);
		view.setUint32(base + Case.rip, rip, true);

		for (let i = 0; i < drawn.length; i++) {
			const form = forms[drawn[i]!]!;
			const keep = i > 0;
			const name = mnemonic(form);
			if (!keep) prepare(name, test, random);
			encoder.encode(form, test, rip, keep);
			if (!keep) adjust(name, test, random, encoded);
			if (view.getUint8(base + Case.codeLength) + encoded.length > STRAIGHT_CODE) break;
			test.append(encoded.bytes, encoded.length);
			rip += encoded.length;
			if (traits[drawn[i]!]!.branch) {
				const relative = form.operands.some(({ kind }) => kind === "relative");
				if (drawn.length === 1 && (!relative || encoded.far || random.once(3))) view.setUint8(base + Case.step, 1);
			} else if (drawn.length === 1 && form.rep === undefined && random.once(16) && !SHOWS_TRAP_FLAG.test(name)) {
				view.setUint8(base + Case.step, 1);
			}
		}
		if (this.options.compatibility) this.cutRegisters(test);
	}

	/** Compatibility mode has eight registers of 32 bits; what the others hold there is undefined. */
	private cutRegisters(test: CaseWriter): void {
		for (let register = 0; register < 16; register++) {
			test.setGpr(register, register < 8 ? test.low(register) : 0, 0);
		}
	}

	private registers(test: CaseWriter): void {
		const { random } = this;
		const { view, base } = test;
		test.window(random.below(DATA_BYTES), 0);
		for (let register = 0; register < 16; register++) {
			if (register > 0 && random.once(12)) test.copyGpr(register, random.below(register));
			else putInteger(random, view, test.gprAt(register));
		}
		if (random.once(2)) test.setGpr(RSP, DATA + (random.between(0x80, DATA_BYTES - 0x80) & -8), 0);
		view.setUint32(base + Case.rflags, (random.word() & ARITHMETIC) | 0x202 | (random.once(8) ? 0x400 : 0), true);
		for (let at = 0; at < Case.windowBytes; at += 8) putInteger(random, view, base + Case.windowContent + at);
	}

	private floatingPoint(test: CaseWriter, vectors: boolean, x87: boolean): void {
		const { random } = this;
		const { view, base } = test;
		view.setUint32(base + Case.mxcsr, DEFAULT_MXCSR, true);
		view.setUint16(base + Case.x87Control, DEFAULT_CONTROL, true);
		if (vectors) {
			for (let at = 0; at < 256; at += 16) putVector(random, view, base + Case.xmm + at);
			for (let at = 0; at < Case.windowBytes; at += 16) {
				if (random.once(2)) putVector(random, view, base + Case.windowContent + at);
			}
			if (random.once(2)) {
				// Rounding, flush to zero, denormals are zeros, sticky flags; now and then an exception that is not masked.
				let mxcsr = DEFAULT_MXCSR | (random.word() & (random.once(2) ? 0x003f : 0x603f));
				if (random.once(4)) mxcsr |= 0x8000;
				if (random.once(4)) mxcsr |= 0x0040;
				if (random.once(6)) mxcsr &= ~(random.word() & 0x1f80);
				view.setUint32(base + Case.mxcsr, mxcsr, true);
			}
		}
		if (!x87) return;
		for (let register = 0; register < 8; register++) putExtended(random, view, base + Case.st + register * 16);
		for (let at = 0; at < Case.windowBytes; at += 16) {
			if (random.once(4)) putVector(random, view, base + Case.windowContent + at);
			else if (random.once(3)) putExtended(random, view, base + Case.windowContent + at);
		}
		let control = DEFAULT_CONTROL;
		if (random.once(2)) control = (random.word() & 0x0f00) | 0x7f;
		if (random.once(8)) control &= ~(random.word() & 0x3f);
		let status = random.word() & 0x7f00;
		// No exception is pending that the control word does not mask, else every instruction would only raise it.
		status |= random.word() & control & 0x3f;
		if (random.once(60)) status |= random.word() & 0x7f;
		if ((status & ~control & 0x3f) !== 0) status |= 0x8080;
		view.setUint16(base + Case.x87Control, control, true);
		view.setUint16(base + Case.x87Status, status & 0xffff, true);
		view.setUint8(base + Case.x87Tags, random.once(3) ? random.word() & 0xff : 0xff);
	}
}

function formsOf(plan: GraphPlan): number[] {
	return plan.blocks.flatMap((block) => block.forms.filter((form) => form >= 0));
}

/** Fills a batch with cases `from` .. `from + count - 1`. */
export function fill(batch: CaseBatch, generator: Generator, from: number, count: number): void {
	const test = new CaseWriter(batch);
	for (let i = 0; i < count; i++) generator.generate(from + i, test, i);
	batch.count = count;
}
