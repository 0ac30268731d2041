/** The control ring of a network interface (public/io/netif.h, "Control messages"): configures the hash by which packets are steered to queues. */
import { PAGE_SIZE } from "../../memory/map.ts";
import { Errno } from "../../xen/abi/errno.ts";
import { CtrlStatus, CtrlType, HashAlgorithm, netifCtrlRequest, netifCtrlResponse } from "../../xen/abi/netif.ts";
import type { BackRing } from "../ring.ts";
import { DeviceError } from "../xenbus/driver.ts";
import type { GuestGrants } from "../xenbus/grants.ts";
import { HASH_TYPES, MOST_KEY, MOST_MAPPING, type Steering } from "./hash.ts";

interface Answer {
	readonly status: number;
	readonly data?: number;
}

interface Message {
	readonly data0: number;
	readonly data1: number;
	readonly data2: number;
}

const SUCCESS: Answer = { status: CtrlStatus.success };
const INVALID: Answer = { status: CtrlStatus.invalidParameter };
const UNSUPPORTED: Answer = { status: CtrlStatus.notSupported };
const OVERFLOW: Answer = { status: CtrlStatus.bufferOverflow };

type Handler = (steering: Steering, grants: GuestGrants, message: Message) => Answer;

const HANDLERS: Readonly<Record<number, Handler>> = {
	[CtrlType.setHashAlgorithm]: (steering, _grants, { data0 }) => {
		if (data0 !== HashAlgorithm.none && data0 !== HashAlgorithm.toeplitz) return INVALID;
		steering.algorithm = data0;
		return SUCCESS;
	},
	[CtrlType.getHashFlags]: (steering) =>
		steering.algorithm === HashAlgorithm.none ? UNSUPPORTED : { status: CtrlStatus.success, data: HASH_TYPES },
	[CtrlType.setHashFlags]: (steering, _grants, { data0 }) => {
		if (steering.algorithm === HashAlgorithm.none) return UNSUPPORTED;
		if ((data0 & ~HASH_TYPES) !== 0) return INVALID;
		steering.flags = data0;
		return SUCCESS;
	},
	[CtrlType.setHashKey]: (steering, grants, { data0, data1 }) => {
		if (data1 > MOST_KEY) return OVERFLOW;
		const key = new Uint8Array(MOST_KEY);
		if (data1 > 0 && !grants.read(data0, 0, key.subarray(0, data1))) return INVALID;
		steering.key = key;
		return SUCCESS;
	},
	[CtrlType.getHashMappingSize]: () => ({ status: CtrlStatus.success, data: MOST_MAPPING }),
	[CtrlType.setHashMappingSize]: (steering, _grants, { data0 }) => {
		if (data0 > MOST_MAPPING) return INVALID;
		steering.mapping = new Uint32Array(data0);
		return SUCCESS;
	},
	[CtrlType.setHashMapping]: (steering, grants, { data0, data1, data2 }) => {
		const { mapping, queues } = steering;
		if (data1 > PAGE_SIZE / 4) return OVERFLOW;
		if (data2 + data1 > mapping.length) return INVALID;
		const entries = new Uint32Array(data1);
		const bytes = new Uint8Array(entries.buffer);
		if (data1 > 0 && !grants.read(data0, 0, bytes)) return INVALID;
		if (entries.some((queue) => queue >= queues)) return INVALID;
		mapping.set(entries, data2);
		return SUCCESS;
	},
	// Grants are copied, none is kept mapped.
	[CtrlType.getGrefMappingSize]: (steering, _grants, { data0 }) =>
		data0 >= steering.queues ? INVALID : { status: CtrlStatus.success, data: 0 },
};

export class ControlQueue {
	private readonly request = new Uint8Array(netifCtrlRequest.size);
	private readonly view = new DataView(this.request.buffer);
	private readonly response = new Uint8Array(netifCtrlResponse.size);
	private readonly responseView = new DataView(this.response.buffer);

	constructor(
		private readonly ring: BackRing,
		private readonly grants: GuestGrants,
		private readonly steering: Steering,
		private readonly notify: () => void,
	) {}

	/** Answers the guest's messages. @throws DeviceError where the ring makes no sense */
	work(): void {
		let answered = false;
		do {
			const { waiting } = this.ring;
			if (waiting < 0) throw new DeviceError(Errno.EINVAL, "the control ring's index of requests is impossible");
			for (let left = waiting; left > 0; left--) {
				this.answer();
				answered = true;
			}
		} while (this.ring.finalCheck());
		if (answered && this.ring.push()) this.notify();
	}

	private answer(): void {
		const { offset } = netifCtrlRequest;
		const { view } = this;
		this.ring.take(this.request);
		const type = view.getUint16(offset.type, true);
		const { data = 0, status } = (HANDLERS[type] ?? (() => UNSUPPORTED))(this.steering, this.grants, {
			data0: view.getUint32(offset.data0, true),
			data1: view.getUint32(offset.data1, true),
			data2: view.getUint32(offset.data2, true),
		});
		const to = netifCtrlResponse.offset;
		this.responseView.setUint16(to.id, view.getUint16(offset.id, true), true);
		this.responseView.setUint16(to.type, type, true);
		this.responseView.setUint32(to.status, status, true);
		this.responseView.setUint32(to.data, data, true);
		this.ring.respond(this.response);
	}
}
