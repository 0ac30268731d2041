/**
 * Whether the processor's table has every instruction that it has to (oracle/catalogue.ts). In a file of its own, since it adds the catalogue's
 * encodings to the table, without semantics.
 */
import { expect, test } from "vitest";
import { forms, type InstructionForm, instruction } from "../../src/cpu/semantics/table.ts";
import { catalogue } from "./oracle/catalogue.ts";

/** Whether `form` decodes what `wanted` describes. */
function covers(form: InstructionForm, wanted: InstructionForm): boolean {
	if (form.map !== wanted.map) return false;
	const sameOpcode = form.opcode === wanted.opcode || (form.opcodeRegister && (wanted.opcode & 0xf8) === form.opcode);
	if (!sameOpcode) return false;
	const prefix =
		form.mandatory === "any" ||
		(wanted.mandatory === "any" ? form.mandatory === "np" : form.mandatory === wanted.mandatory);
	if (!prefix) return false;
	const digit = wanted.exactModrm >= 0 ? (wanted.exactModrm >> 3) & 7 : wanted.digit;
	if (form.digit >= 0 && digit >= 0 && form.digit !== digit) return false;
	return form.exactModrm < 0 || form.exactModrm === wanted.exactModrm;
}

test("every encoding of the catalogue is in the table", async () => {
	await import("../../src/cpu/index.ts");
	const implemented = [...forms];
	expect(implemented.length).toBeGreaterThan(1000);
	for (const { name, encoding, options } of catalogue) instruction(name, [encoding], options, () => {});
	const missing = forms
		.slice(implemented.length)
		.filter((wanted) => !implemented.some((form) => covers(form, wanted)))
		.map(({ name, encoding }) => `${name} ${encoding}`);
	expect(missing).toEqual([]);
});
