/** public/io/netif.h: rings, flags and messages of the split network driver. */
import { struct, u8, u16, u32 } from "./struct.ts";

/** struct netif_tx_request; its response is shorter. */
export const netifTxRequest = struct({ gref: u32, offset: u16, flags: u16, id: u16, size: u16 });
export const netifTxResponse = struct({ id: u16, status: u16 });
export const netifRxRequest = struct({ id: u16, pad: u16, gref: u32 });
export const netifRxResponse = struct({ id: u16, offset: u16, flags: u16, status: u16 });
export const netifExtraInfo = struct({ type: u8, flags: u8, value0: u16, value1: u16, value2: u16 });
export const netifCtrlRequest = struct({ id: u16, type: u16, data0: u32, data1: u32, data2: u32 });
export const netifCtrlResponse = struct({ id: u16, type: u16, status: u32, data: u32 });

/** NETTXF_* */
export const TxFlag = { csumBlank: 1, dataValidated: 2, moreData: 4, extraInfo: 8 } as const;
/** NETRXF_*: the first two are the other way round. */
export const RxFlag = { dataValidated: 1, csumBlank: 2, moreData: 4, extraInfo: 8 } as const;
/** NETIF_RSP_* */
export const NetifStatus = { okay: 0, error: -1, dropped: -2, none: 1 } as const;
/** XEN_NETIF_EXTRA_TYPE_* */
export const ExtraType = { gso: 1, mcastAdd: 2, mcastDel: 3, hash: 4, max: 5 } as const;
/** XEN_NETIF_EXTRA_FLAG_MORE */
export const EXTRA_MORE = 1;
/** XEN_NETIF_GSO_TYPE_* */
export const GsoType = { none: 0, tcpv4: 1, tcpv6: 2 } as const;

/** XEN_NETIF_CTRL_TYPE_* */
export const CtrlType = {
	getHashFlags: 1,
	setHashFlags: 2,
	setHashKey: 3,
	getHashMappingSize: 4,
	setHashMappingSize: 5,
	setHashMapping: 6,
	setHashAlgorithm: 7,
	getGrefMappingSize: 8,
	addGrefMapping: 9,
	delGrefMapping: 10,
} as const;
/** XEN_NETIF_CTRL_STATUS_* */
export const CtrlStatus = { success: 0, notSupported: 1, invalidParameter: 2, bufferOverflow: 3 } as const;
/** XEN_NETIF_CTRL_HASH_ALGORITHM_* */
export const HashAlgorithm = { none: 0, toeplitz: 1 } as const;
/** _XEN_NETIF_CTRL_HASH_TYPE_*: numbers of bits. */
export const HashType = { ipv4: 0, ipv4Tcp: 1, ipv6: 2, ipv6Tcp: 3 } as const;
