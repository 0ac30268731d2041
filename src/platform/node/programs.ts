/** Small programs of the system that do what Node.js cannot: looked for once, in the places of PATH. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const found = new Map<string, string | undefined>();

/** The path of a program, or undefined where the system has none of that name. */
export function findProgram(name: string): string | undefined {
	if (!found.has(name)) found.set(name, search(name));
	return found.get(name);
}

function search(name: string): string | undefined {
	const { PATH = "" } = process.env;
	return PATH.split(delimiter)
		.filter((directory) => directory !== "")
		.map((directory) => join(directory, name))
		.find((path) => {
			try {
				accessSync(path, constants.X_OK);
				return true;
			} catch {
				return false;
			}
		});
}
