/** Names of domains. */
import { ToolstackError } from "./errors.ts";

const LONGEST = 255;
/** Domain 0's, which no other may have. */
const SERVICE_NAME = "Domain-0";

/** @throws ToolstackError invalid-name for what could not be told from an id, or could not be part of a file's name. */
export function checkName(name: string): void {
	const problem = problemOf(name);
	if (problem === undefined) return;
	throw new ToolstackError("invalid-name", `"${name}" cannot be a domain's name: ${problem}`, "Choose another name");
}

function problemOf(name: string): string | undefined {
	if (name === "") return "it is empty";
	if (name.length > LONGEST) return `it is longer than ${LONGEST} characters`;
	if (/^\d+$/.test(name)) return "it would be taken for a domain's id";
	if (name === SERVICE_NAME) return "it is domain 0's";
	if (name === "." || name === "..") return "it is a directory's";
	// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
	if (/[/\u0000-\u001f\u007f]/.test(name)) return "it has a slash or a control character in it";
	return undefined;
}
