/** Makes the translator wrong on purpose, for the divergence finder's own test. */
import { forms, type InstructionForm } from "../../../src/cpu/semantics/table.ts";
import { TranslatorContext } from "../../../src/cpu/translator/context.ts";
import { i64 } from "../../../src/wasm/expression.ts";

/**
 * From now on an instruction turns bit 0 of a register in regions, and only there.
 * @returns what undoes it.
 */
export function injectFault(name: string, register: number): () => void {
	const undo: (() => void)[] = [];
	for (const form of forms) {
		if (form.name !== name) continue;
		const { semantics } = form;
		const wrong: InstructionForm["semantics"] = (context, ...operands) => {
			semantics(context, ...operands);
			if (context instanceof TranslatorContext) {
				context.setGpr(register, i64.xor(context.gpr(register), i64.const(1)));
			}
		};
		Object.assign(form, { semantics: wrong });
		undo.push(() => Object.assign(form, { semantics }));
	}
	if (undo.length === 0) throw new RangeError(`no instruction ${name}`);
	return () => {
		for (const one of undo) one();
	};
}
