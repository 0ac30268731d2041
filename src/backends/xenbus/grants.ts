/**
 * A front end's pages for its back end: grants by reference, mapped for as long as a request takes or copied at once. Nothing is
 * allocated on the way. Addresses are linear; a failure is -1 or false and has left nothing behind.
 */
import { PAGE_SIZE } from "../../memory/map.ts";
import { GrantStatus, MapFlag } from "../../xen/abi/grant-table.ts";
import type { Domain } from "../../xen/domain.ts";
import { CopyBuffer } from "../../xen/grants/copy.ts";

const READ_WRITE = MapFlag.hostMap;
const READ_ONLY = MapFlag.hostMap | MapFlag.readonly;

export class GuestGrants {
	private readonly buffer = new CopyBuffer();
	/** Mappings that have not been undone. */
	mapped = 0;

	/** @param user the back end's domain */
	constructor(
		readonly domain: Domain,
		private readonly user: number,
	) {}

	/**
	 * Maps a page. While it is mapped the guest cannot give it away, and the frame is not freed even when the guest goes.
	 * @returns its linear address, or -1 where the guest does not grant it so
	 */
	map(ref: number, readOnly: boolean): number {
		const { grants, hypervisor } = this.domain;
		if (grants.acquire(ref, this.user, readOnly ? READ_ONLY : READ_WRITE) !== GrantStatus.okay) return -1;
		this.mapped++;
		return hypervisor.memory.frame(grants.frame[ref] as number);
	}

	/**
	 * A page that is used before this returns to the guest and not afterwards: like {@link map}, with nothing to be undone.
	 * @returns its linear address, or -1 where the guest does not grant it so
	 */
	momentary(ref: number, readOnly: boolean): number {
		const mfn = this.domain.grants.momentary(ref, this.user, readOnly);
		return mfn < 0 ? -1 : this.domain.hypervisor.memory.frame(mfn);
	}

	/** Undoes one {@link map} of the reference, with the same `readOnly`. */
	unmap(ref: number, readOnly: boolean): void {
		this.mapped--;
		this.domain.grants.release(ref, readOnly ? READ_ONLY : READ_WRITE);
	}

	/** To be called before bytes of a mapped page change, and after somebody else (the host's kernel) has changed them. */
	contentsChange(address: number): void {
		const { frames, memory } = this.domain.hypervisor;
		frames.contentsChange(memory.frameAt(address));
	}

	/** Copies bytes of a granted page. False where it is not granted, or not that part of it. */
	read(ref: number, offset: number, to: Uint8Array): boolean {
		return this.copy(ref, offset, to, true);
	}

	/** Copies bytes into a granted page. False where it is not granted for writing, or not that part of it. */
	write(ref: number, offset: number, from: Uint8Array): boolean {
		return this.copy(ref, offset, from, false);
	}

	private copy(ref: number, offset: number, bytes: Uint8Array, readOnly: boolean): boolean {
		const { buffer, domain } = this;
		if (offset < 0 || offset + bytes.length > PAGE_SIZE) return false;
		const okay = buffer.claimGrant(domain.grants, ref, this.user, readOnly) === GrantStatus.okay;
		const within = okay && offset >= buffer.start && offset + bytes.length <= buffer.start + buffer.length;
		if (within) {
			const { memory, frames } = domain.hypervisor;
			const linear = memory.frame(buffer.mfn) + offset;
			if (readOnly) {
				bytes.set(memory.bytes.subarray(linear, linear + bytes.length));
			} else {
				frames.contentsChange(buffer.mfn);
				memory.bytes.set(bytes, linear);
			}
		}
		// Also where the claim failed half way: what it had taken is given back.
		buffer.release(domain);
		return within;
	}
}
