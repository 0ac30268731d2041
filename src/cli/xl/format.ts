/** xl's columns, and the pieces of C's printf that make them. */
import type { DomainInfo, VcpuInfo } from "../../toolstack/info.ts";
import { ShutdownReason } from "../../xen/domain.ts";

const MIB = 2 ** 20;

/** `%-Ns` */
export function left(value: string | number, width: number): string {
	return String(value).padEnd(width);
}

/** `%Ns` and `%Nd` */
export function right(value: string | number, width: number): string {
	return String(value).padStart(width);
}

export type Cell = string | number;

/** C's printf, as far as columns need it: `%Ns`, `%-Ns` and the same with `d`. */
export function formatRow(format: string, cells: readonly Cell[]): string {
	let next = 0;
	return format.replace(/%(-?)(\d*)[sd]/g, (_, minus: string, width: string) => {
		const cell = cells[next++] ?? "";
		return minus === "-" ? left(cell, Number(width)) : right(cell, Number(width));
	});
}

/** `xl list`'s options that add columns. */
export interface ListColumns {
	readonly verbose: boolean;
	readonly pool: boolean;
	readonly nodes: boolean;
}

export function formatList(domains: readonly DomainInfo[], columns: ListColumns): string {
	const { verbose, pool, nodes } = columns;
	const header = [
		"Name                                        ID   Mem VCPUs\tState\tTime(s)",
		verbose ? "   UUID                            Reason-Code\tSecurity Label" : "",
		pool ? "         Cpupool" : "",
		nodes ? " NODE Affinity" : "",
	].join("");
	const rows = domains.map((domain) =>
		[
			`${left(domain.name, 40)} ${right(domain.id, 5)} ${right(Math.floor(domain.memory / MIB), 5)}`,
			` ${right(domain.onlineVcpus, 5)}     ${domain.state}  ${right(domain.cpuSeconds.toFixed(1), 8)}`,
			verbose ? ` ${domain.uuid} ${right(reasonCode(domain), 8)} ${right("-", 16)}` : "",
			pool ? ` ${right("Pool-0", 16)}` : "",
			nodes ? " all" : "",
		].join(""),
	);
	return `${[header, ...rows].join("\n")}\n`;
}

/** Xen's number of the reason, in hexadecimal. */
function reasonCode({ shutdownReason }: DomainInfo): string {
	return shutdownReason === undefined ? "-" : ShutdownReason[shutdownReason].toString(16);
}

export interface DomainVcpus {
	readonly domain: DomainInfo;
	readonly vcpus: readonly VcpuInfo[];
}

export const VCPU_HEADER = formatRow("%-32s %5s %5s %5s %5s %9s %s", [
	"Name",
	"ID",
	"VCPU",
	"CPU",
	"State",
	"Time(s)",
	"Affinity (Hard / Soft)",
]);

/** The rows of a domain's vCPUs. */
export function formatVcpus({ domain, vcpus }: DomainVcpus): string {
	return vcpus
		.map((vcpu) =>
			formatRow("%-32s %5d %5d%5s %3s%s %9s  all / all", [
				domain.name,
				domain.id,
				vcpu.id,
				vcpu.online ? vcpu.cpu : "-",
				vcpu.state.slice(0, 1),
				vcpu.state.slice(1),
				vcpu.cpuSeconds.toFixed(1),
			]),
		)
		.join("\n");
}

/** "3 days,  4:05:06", and without seconds "3 days,  4:05". */
export function formatUptime(seconds: number, short = false): string {
	const whole = Math.floor(seconds);
	const days = Math.floor(whole / 86400);
	const two = (value: number): string => String(value).padStart(2, "0");
	const hours = right(Math.floor(whole / 3600) % 24, 2);
	const clock = `${hours}:${two(Math.floor(whole / 60) % 60)}${short ? "" : `:${two(whole % 60)}`}`;
	return days === 0 ? clock : `${days} day${days > 1 ? "s" : ""}, ${clock}`;
}

/** `name : value` lines of `xl info`. */
export function formatFields(fields: readonly (readonly [name: string, value: string | number])[]): string {
	return fields.map(([name, value]) => `${left(name, 23)}: ${value}\n`).join("");
}
