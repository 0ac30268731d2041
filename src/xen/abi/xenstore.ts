/** public/io/xs_wire.h: the messages of xenstore, and the page that a guest shares with it. */
import { bytes, struct, u32 } from "./struct.ts";

/** enum xsd_sockmsg_type */
export const XsType = {
	control: 0,
	directory: 1,
	read: 2,
	getPerms: 3,
	watch: 4,
	unwatch: 5,
	transactionStart: 6,
	transactionEnd: 7,
	introduce: 8,
	release: 9,
	getDomainPath: 10,
	write: 11,
	mkdir: 12,
	rm: 13,
	setPerms: 14,
	watchEvent: 15,
	error: 16,
	isDomainIntroduced: 17,
	resume: 18,
	setTarget: 19,
	resetWatches: 21,
	directoryPart: 22,
} as const;
export type XsType = (typeof XsType)[keyof typeof XsType];

/** struct xsd_sockmsg: the header of a message; `len` bytes follow. */
export const xsdSockmsg = struct({ type: u32, reqId: u32, txId: u32, len: u32 });

export const XENSTORE_PAYLOAD_MAX = 4096;
export const XENSTORE_ABS_PATH_MAX = 3072;
export const XENSTORE_REL_PATH_MAX = 2048;
export const XENSTORE_RING_SIZE = 1024;

/** struct xenstore_domain_interface: free-running indices; `rsp` is towards the guest. */
export const xenstoreDomainInterface = struct({
	req: bytes(XENSTORE_RING_SIZE),
	rsp: bytes(XENSTORE_RING_SIZE),
	reqCons: u32,
	reqProd: u32,
	rspCons: u32,
	rspProd: u32,
	serverFeatures: u32,
	connection: u32,
	error: u32,
});

/** XENSTORE_SERVER_FEATURE_* */
export const XenstoreFeature = { reconnection: 1, error: 2 } as const;
/** The `connection` field: XENSTORE_CONNECTED, XENSTORE_RECONNECT. */
export const XenstoreConnection = { connected: 0, reconnect: 1 } as const;
/** The `error` field: XENSTORE_ERROR_* */
export const XenstoreError = { none: 0, comm: 1, ringIndex: 2, protocol: 3 } as const;
export type XenstoreError = (typeof XenstoreError)[keyof typeof XenstoreError];
