/**
 * Which forms are tested: all that the processor's table has, less what cannot be compared; or the catalogue's, where there is no processor.
 */
import { forms, type InstructionForm, instruction } from "../../../src/cpu/semantics/table.ts";
import { catalogue } from "./catalogue.ts";
import { excluded } from "./excluded.ts";
import { mnemonic } from "./undefined.ts";

/** The forms that src/cpu implements. Importing the processor fills the table. */
export async function comparableForms(): Promise<readonly InstructionForm[]> {
	await import(new URL("../../../src/cpu/index.ts", import.meta.url).href);
	return forms.filter((form) => excluded(mnemonic(form)) === undefined);
}

/** The forms of the catalogue, put into the table without semantics: for comparing the host with itself, not for a process that emulates. */
export function catalogueForms(): readonly InstructionForm[] {
	const before = forms.length;
	for (const { name, encoding, options } of catalogue) instruction(name, [encoding], options, () => {});
	return forms.slice(before).filter((form) => excluded(mnemonic(form)) === undefined);
}
