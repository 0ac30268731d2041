/**
 * The machine-to-physical table (M2P): for each machine frame, the number under which its owner knows it. Guests read it at MACH2PHYS_VIRT_START,
 * through L4 slot 256, which is the hypervisor's; the frames that hold it and the tables that map it belong to DOMID_XEN.
 */
import { PAGE_SIZE } from "../../memory/map.ts";
import type { FrameTable } from "./frames.ts";
import { ENTRIES, FIRST_XEN_SLOT, LAST_XEN_SLOT, PTE_NX, Pte } from "./pte.ts";

const ENTRY_SIZE = 8;
const READ_ONLY = Pte.present | Pte.user | Pte.accessed;
/** A machine with more frames than this has the table at a 2 MB boundary, as XENMEM_machphys_mfn_list reports it. */
const SMALL_MACHINE = 4096;

export class MachineToPhysical {
	/** Machine frame of the table's first page, and their number. */
	readonly firstFrame: number;
	readonly frameCount: number;
	private readonly l3: number;
	private readonly base: number;

	constructor(private readonly frames: FrameTable) {
		this.frameCount = Math.ceil((frames.frames * ENTRY_SIZE) / PAGE_SIZE);
		const l1Count = Math.ceil(this.frameCount / ENTRIES);
		this.l3 = 1;
		const l2 = 2;
		const l1 = 3;
		this.firstFrame = frames.frames > SMALL_MACHINE ? ENTRIES : l1 + l1Count;
		frames.reserve(1, 2 + l1Count);
		frames.reserve(this.firstFrame, this.frameCount);
		this.point(this.l3, 0, l2);
		for (let table = 0; table < l1Count; table++) this.point(l2, table, l1 + table);
		for (let page = 0; page < this.frameCount; page++) {
			this.point(l1 + Math.floor(page / ENTRIES), page % ENTRIES, this.firstFrame + page);
		}
		const start = frames.memory.frame(this.firstFrame);
		frames.memory.fill(start, frames.frames * ENTRY_SIZE, 0xff);
		this.base = start / 4;
	}

	/** -1 where the frame is no guest's. */
	get(mfn: number): number {
		const { words } = this.frames;
		return (words[this.base + mfn * 2 + 1]! | 0) * 2 ** 32 + words[this.base + mfn * 2]!;
	}
	set(mfn: number, pfn: number): void {
		const high = Math.floor(pfn / 2 ** 32);
		this.setHalves(mfn, pfn - high * 2 ** 32, high);
	}
	/** As the guest wrote it: Xen keeps whatever 64 bits MMU_MACHPHYS_UPDATE brings. */
	setHalves(mfn: number, low: number, high: number): void {
		const { words } = this.frames;
		words[this.base + mfn * 2] = low;
		words[this.base + mfn * 2 + 1] = high;
	}
	invalidate(mfn: number): void {
		this.setHalves(mfn, 0xffff_ffff, 0xffff_ffff);
	}

	/** Fills the hypervisor's slots of an L4 table; `visible` tells whether the guest sees the M2P through it (VMASST_TYPE_m2p_strict). */
	fillXenSlots(l4: number, visible: boolean): void {
		const { frames } = this;
		frames.contentsChange(l4);
		frames.words.fill(0, frames.entry(l4, FIRST_XEN_SLOT), frames.entry(l4, LAST_XEN_SLOT + 1));
		if (visible) this.show(l4);
	}
	show(l4: number): void {
		this.point(l4, FIRST_XEN_SLOT, this.l3);
	}
	hide(l4: number): void {
		const at = this.frames.entry(l4, FIRST_XEN_SLOT);
		this.frames.words[at] = 0;
		this.frames.words[at + 1] = 0;
	}

	private point(table: number, slot: number, mfn: number): void {
		const at = this.frames.entry(table, slot);
		this.frames.words[at] = (mfn << 12) | READ_ONLY;
		this.frames.words[at + 1] = PTE_NX;
	}
}
