/** public/version.h and public/features.h: what a guest learns of its hypervisor. */
import { bytes, struct, u32, u64 } from "./struct.ts";

/** XENVER_* */
export const VersionOp = {
	version: 0,
	extraversion: 1,
	compileInfo: 2,
	capabilities: 3,
	changeset: 4,
	platformParameters: 5,
	getFeatures: 6,
	pagesize: 7,
	guestHandle: 8,
	commandline: 9,
	buildId: 10,
} as const;

export const versionOpNames: Readonly<Record<number, string>> = {
	0: "version",
	1: "extraversion",
	2: "compile_info",
	3: "capabilities",
	4: "changeset",
	5: "platform_parameters",
	6: "get_features",
	7: "pagesize",
	8: "guest_handle",
	9: "commandline",
	10: "build_id",
};

/** Sizes of the character arrays that the queries fill. */
export const EXTRAVERSION_SIZE = 16;
export const CAPABILITIES_SIZE = 1024;
export const CHANGESET_SIZE = 64;
export const COMMANDLINE_SIZE = 1024;
/** xen_domain_handle_t */
export const HANDLE_SIZE = 16;

export const compileInfo = struct({
	compiler: bytes(64),
	compileBy: bytes(16),
	compileDomain: bytes(32),
	compileDate: bytes(32),
});
export const platformParameters = struct({ virtStart: u64 });
export const featureInfo = struct({ submapIdx: u32, submap: u32 });
export const buildId = struct({ len: u32 });

/** XENFEAT_*: bit numbers of submap 0. */
export const Feature = {
	writablePageTables: 0,
	writableDescriptorTables: 1,
	autoTranslatedPhysmap: 2,
	supervisorModeKernel: 3,
	paePgdirAbove4gb: 4,
	mmuPtUpdatePreserveAd: 5,
	highmemAssist: 6,
	gnttabMapAvailBits: 7,
	hvmCallbackVector: 8,
	hvmSafePvclock: 9,
	hvmPirqs: 10,
	dom0: 11,
	grantMapIdentity: 12,
	memoryOpVnodeSupported: 13,
	linuxRsdpUnrestricted: 15,
	notDirectMapped: 16,
	directMapped: 17,
} as const;
