/** What is told of domains, their vCPUs and the machine: the columns of xl's list, vcpu-list and info. */
import { PAGE_SIZE } from "../memory/map.ts";
import { RunstateName } from "../xen/abi/vcpu.ts";
import { type Domain, ShutdownReason } from "../xen/domain.ts";
import { XEN_VERSION } from "../xen/hypercalls/version.ts";
import type { Vcpu } from "../xen/vcpu.ts";
import { wantedVcpus } from "./control.ts";
import type { Machine } from "./machine.ts";
import { memoryTarget, staticMaximum } from "./memory.ts";
import { formatUuid } from "./uuid.ts";

export type ShutdownName = keyof typeof ShutdownReason;

export interface DomainInfo {
	readonly id: number;
	readonly name: string;
	readonly uuid: string;
	/** A vCPU of it is running; all of them wait; the toolstack has stopped it; it has shut down, and by a crash; it is destroyed. */
	readonly running: boolean;
	readonly blocked: boolean;
	readonly paused: boolean;
	readonly shutdown: boolean;
	readonly crashed: boolean;
	readonly dying: boolean;
	/** The six letters of xl's State column: "r-----", "-b----", "--p---", "---s--", "---sc-", "-----d". */
	readonly state: string;
	/** Why it has shut down. */
	readonly shutdownReason: ShutdownName | undefined;
	/** Bytes that it owns, that it is asked to own (its balloon's target), that it may own, and where its memory map ends. */
	readonly memory: number;
	readonly memoryTarget: number;
	readonly maximumMemory: number;
	readonly staticMaximumMemory: number;
	/** vCPUs that are up, that the toolstack wants up, and that there are. */
	readonly onlineVcpus: number;
	readonly wantedVcpus: number;
	readonly vcpus: number;
	/** Seconds that its vCPUs have run. */
	readonly cpuSeconds: number;
	/** Seconds since it was created. */
	readonly uptimeSeconds: number;
	readonly weight: number;
	readonly cap: number;
}

export interface VcpuInfo {
	readonly id: number;
	readonly online: boolean;
	readonly running: boolean;
	readonly blocked: boolean;
	/** Xen's column: "r--" running, "-b-" waiting, "---" could run, "--p" down. */
	readonly state: string;
	/** The physical CPU that it last ran on. */
	readonly cpu: number;
	/** Seconds that it has run, and that it could have run but others did. */
	readonly cpuSeconds: number;
	readonly waitingSeconds: number;
	/** Physical CPUs that it may run on, and that it likes better. There is one: number 0. */
	readonly hardAffinity: readonly number[];
	readonly softAffinity: readonly number[];
}

export interface HostInfo {
	readonly cpus: number;
	readonly maximumCpuId: number;
	readonly nodes: number;
	readonly coresPerSocket: number;
	readonly threadsPerCore: number;
	/** Of the virtual TSC. */
	readonly cpuKilohertz: number;
	/** Bytes of machine memory; free means owned by nobody. */
	readonly totalMemory: number;
	readonly freeMemory: number;
	readonly xenMajor: number;
	readonly xenMinor: number;
	readonly xenExtra: string;
	readonly xenCapabilities: string;
	readonly xenChangeset: string;
	readonly xenCompiler: string;
	readonly xenCompileBy: string;
	readonly scheduler: string;
	readonly pageSize: number;
	/** "virt_start=0x..." */
	readonly platformParameters: string;
	/** Domains that there are, and seconds since the machine started. */
	readonly domains: number;
	readonly uptimeSeconds: number;
}

/** Nanoseconds that a vCPU has spent in a runstate until `now`. */
function timeIn(vcpu: Vcpu, state: number, now: number): number {
	const { runstate } = vcpu;
	const current = runstate.state === state ? Math.max(0, now - runstate.entered) : 0;
	return (runstate.times[state] as number) + current;
}

/** Seconds that a domain's vCPUs have run. */
function cpuSeconds(domain: Domain): number {
	const now = domain.hypervisor.clock.now();
	return domain.vcpus.reduce((sum, vcpu) => sum + timeIn(vcpu, RunstateName.running, now), 0) / 1e9;
}

export function shutdownName(reason: number): ShutdownName {
	const names = Object.keys(ShutdownReason) as ShutdownName[];
	return names.find((name) => ShutdownReason[name] === reason) ?? "crash";
}

/** @param destroyed it is not on the machine any more */
export function domainInfo(machine: Machine, domain: Domain, destroyed = false): DomainInfo {
	const { clock } = machine.hypervisor;
	const up = domain.vcpus.filter((vcpu) => vcpu.online);
	const shutdown = domain.shutdown !== undefined;
	const running = !shutdown && up.some(({ runstate }) => runstate.state === RunstateName.running);
	const crashed = domain.shutdown === ShutdownReason.crash;
	const flags = {
		running,
		blocked: !shutdown && !running && up.length > 0 && up.every((vcpu) => vcpu.blocked),
		paused: domain.paused,
		shutdown,
		crashed,
		dying: destroyed,
	};
	return {
		id: domain.id,
		name: domain.name,
		uuid: formatUuid(domain.handle),
		...flags,
		state: Object.values(flags)
			.map((set, index) => (set ? ("rbpscd"[index] as string) : "-"))
			.join(""),
		shutdownReason: domain.shutdown === undefined ? undefined : shutdownName(domain.shutdown),
		memory: destroyed ? 0 : domain.pages * PAGE_SIZE,
		memoryTarget: memoryTarget(machine, domain),
		maximumMemory: domain.maximumPages * PAGE_SIZE,
		staticMaximumMemory: staticMaximum(machine, domain),
		onlineVcpus: up.length,
		wantedVcpus: wantedVcpus(machine, domain),
		vcpus: domain.vcpus.length,
		cpuSeconds: cpuSeconds(domain),
		uptimeSeconds: (clock.now() - domain.created) / 1e9,
		weight: domain.weight,
		cap: domain.cap,
	};
}

/** Domain 0 as long as there is no machine. */
export const NO_MACHINE_DOMAIN: DomainInfo = {
	id: 0,
	name: "Domain-0",
	uuid: formatUuid(new Uint8Array(16)),
	running: false,
	blocked: false,
	paused: false,
	shutdown: false,
	crashed: false,
	dying: false,
	state: "------",
	shutdownReason: undefined,
	memory: 0,
	memoryTarget: 0,
	maximumMemory: 0,
	staticMaximumMemory: 0,
	onlineVcpus: 0,
	wantedVcpus: 0,
	vcpus: 0,
	cpuSeconds: 0,
	uptimeSeconds: 0,
	weight: 256,
	cap: 0,
};

export function vcpuInfos(domain: Domain): VcpuInfo[] {
	const now = domain.hypervisor.clock.now();
	return domain.vcpus.map((vcpu) => {
		const { online } = vcpu;
		const running = online && vcpu.runstate.state === RunstateName.running;
		const blocked = online && vcpu.blocked;
		return {
			id: vcpu.id,
			online,
			running,
			blocked,
			state: online ? `${running ? "r" : "-"}${blocked ? "b" : "-"}-` : "--p",
			cpu: 0,
			cpuSeconds: timeIn(vcpu, RunstateName.running, now) / 1e9,
			waitingSeconds: timeIn(vcpu, RunstateName.runnable, now) / 1e9,
			hardAffinity: [0],
			softAffinity: [0],
		};
	});
}

export function hostInfo({ hypervisor }: Machine): HostInfo {
	const { clock, frames, memory, domains } = hypervisor;
	return {
		cpus: 1,
		maximumCpuId: 0,
		nodes: 1,
		coresPerSocket: 1,
		threadsPerCore: 1,
		cpuKilohertz: clock.tscFrequency / 1000,
		totalMemory: memory.frames * PAGE_SIZE,
		freeMemory: frames.free * PAGE_SIZE,
		xenMajor: XEN_VERSION.major,
		xenMinor: XEN_VERSION.minor,
		xenExtra: XEN_VERSION.extra,
		xenCapabilities: XEN_VERSION.capabilities,
		xenChangeset: XEN_VERSION.changeset,
		xenCompiler: XEN_VERSION.compiler,
		xenCompileBy: XEN_VERSION.compileBy,
		scheduler: "credit",
		pageSize: PAGE_SIZE,
		platformParameters: `virt_start=0x${XEN_VERSION.virtStart}`,
		domains: domains.size,
		uptimeSeconds: clock.now() / 1e9,
	};
}
