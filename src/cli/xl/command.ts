/** `paravirt xl` in the list of commands; its own arguments are xl.ts's. */
import type { CommandDef } from "citty";

export const xlCommand: CommandDef = {
	meta: { name: "xl", description: "Manage domains with the verbs, options and configuration files of Xen's xl" },
};
