/** public/physdev.h: PHYSDEVOP_* and the arguments of those that a domU may use. */
import { Errno } from "./errno.ts";
import { i64, struct, u32 } from "./struct.ts";

/** PHYSDEVOP_* */
export const PhysdevOp = {
	irqUnmaskNotify: 4,
	irqStatusQuery: 5,
	setIopl: 6,
	setIobitmap: 7,
	apicRead: 8,
	apicWrite: 9,
	allocIrqVector: 10,
	freeIrqVector: 11,
	eoi: 12,
	mapPirq: 13,
	unmapPirq: 14,
	managePciAdd: 15,
	managePciRemove: 16,
	pirqEoiGmfnV1: 17,
	restoreMsi: 19,
	managePciAddExt: 20,
	setupGsi: 21,
	getFreePirq: 23,
	pciMmcfgReserved: 24,
	pciDeviceAdd: 25,
	pciDeviceRemove: 26,
	restoreMsiExt: 27,
	pirqEoiGmfnV2: 28,
	dbgpOp: 29,
	prepareMsix: 30,
	releaseMsix: 31,
} as const;

export const physdevOpNames: Readonly<Record<number, string>> = {
	4: "irq_unmask_notify",
	5: "irq_status_query",
	6: "set_iopl",
	7: "set_iobitmap",
	8: "apic_read",
	9: "apic_write",
	10: "alloc_irq_vector",
	11: "free_irq_vector",
	12: "eoi",
	13: "map_pirq",
	14: "unmap_pirq",
	15: "manage_pci_add",
	16: "manage_pci_remove",
	17: "pirq_eoi_gmfn_v1",
	19: "restore_msi",
	20: "manage_pci_add_ext",
	21: "setup_gsi",
	23: "get_free_pirq",
	24: "pci_mmcfg_reserved",
	25: "pci_device_add",
	26: "pci_device_remove",
	27: "restore_msi_ext",
	28: "pirq_eoi_gmfn_v2",
	29: "dbgp_op",
	30: "prepare_msix",
	31: "release_msix",
};

export const irqStatusQuery = struct({ irq: u32, flags: u32 });
/** XENIRQSTAT_needs_eoi */
export const IRQ_STATUS_NEEDS_EOI = 1;
export const setIobitmap = struct({ bitmap: i64, nrPorts: u32 });

/**
 * Commands that are not for a domU, and what Xen answers: bytes that it copies in first (a bad pointer is -EFAULT then), result.
 */
export const refused: Readonly<Record<number, { readonly size: number; readonly result: number }>> = {
	[PhysdevOp.apicRead]: { size: 16, result: -Errno.EPERM },
	[PhysdevOp.apicWrite]: { size: 16, result: -Errno.EPERM },
	[PhysdevOp.allocIrqVector]: { size: 8, result: -Errno.EPERM },
	[PhysdevOp.mapPirq]: { size: 40, result: -Errno.EPERM },
	[PhysdevOp.unmapPirq]: { size: 8, result: -Errno.EPERM },
	[PhysdevOp.managePciAdd]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.managePciRemove]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.restoreMsi]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.managePciAddExt]: { size: 16, result: -Errno.EPERM },
	[PhysdevOp.setupGsi]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.getFreePirq]: { size: 8, result: -Errno.ENOSPC },
	[PhysdevOp.pciMmcfgReserved]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.pciDeviceAdd]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.pciDeviceRemove]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.restoreMsiExt]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.dbgpOp]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.prepareMsix]: { size: 0, result: -Errno.EPERM },
	[PhysdevOp.releaseMsix]: { size: 0, result: -Errno.EPERM },
};
