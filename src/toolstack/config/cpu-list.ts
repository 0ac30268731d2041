/**
 * CPULIST of xl.cfg(5): "all", "0-3,5,^1", "nodes:0-3,^node:2". The host has one physical CPU, number 0 of node 0, so a list is only looked
 * at for whether it is one, and whether it leaves that one alone.
 */

const PART = /^(\^?)(?:all|(nodes?:)?(\d+)(?:-(\d+))?)$/;

/** CPUs of the host. */
const CPUS = 1;

export interface CpuListProblem {
	/** No list at all; or one of CPUs that the host does not have. */
	readonly kind: "not-a-list" | "not-the-host's";
	/** What it is, as a clause. */
	readonly reason: string;
}

/** @returns what is wrong with it, or undefined. */
export function checkCpuList(text: string): CpuListProblem | undefined {
	let allowed = false;
	let elsewhere: string | undefined;
	for (const part of text.split(",").map((each) => each.trim())) {
		const match = PART.exec(part);
		if (match === null) return { kind: "not-a-list", reason: `"${part}" is no list of CPUs` };
		const [, not, node, first, last] = match;
		const from = Number(first ?? 0);
		const to = Number(last ?? first ?? 0);
		if (to < from) return { kind: "not-a-list", reason: `"${part}" is no range` };
		const unlimited = first === undefined;
		if (!unlimited && not === "" && to >= CPUS)
			elsewhere = `the host has no ${node === undefined ? "CPU" : "node"} ${to}`;
		if (unlimited || from === 0) allowed = not === "";
	}
	const reason = elsewhere ?? (allowed ? undefined : `"${text}" leaves no CPU`);
	return reason === undefined ? undefined : { kind: "not-the-host's", reason };
}
