/**
 * CPULIST of xl.cfg(5): "all", "0-3,5,^1", "nodes:0-3,^node:2". The host has one physical CPU, number 0 of node 0, so a list is only looked
 * at for whether it leaves that one.
 */

const PART = /^(\^?)(?:all|(nodes?:)?(\d+)(?:-(\d+))?)$/;

/** CPUs of the host. */
const CPUS = 1;

/** @returns what is wrong with it, or undefined. */
export function checkCpuList(text: string): string | undefined {
	let allowed = false;
	for (const part of text.split(",").map((each) => each.trim())) {
		const match = PART.exec(part);
		if (match === null) return `"${part}" is no list of CPUs`;
		const [, not, node, first, last] = match;
		const from = Number(first ?? 0);
		const to = Number(last ?? first ?? 0);
		if (to < from) return `"${part}" is no range`;
		const unlimited = first === undefined;
		if (!unlimited && not === "" && to >= CPUS) {
			return `the host has no ${node === undefined ? "CPU" : "node"} ${to}`;
		}
		if (unlimited || from === 0) allowed = not === "";
	}
	return allowed ? undefined : `"${text}" leaves no CPU`;
}
