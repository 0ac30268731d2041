/**
 * Where everything lives in the machine's one WebAssembly.Memory: which area is whose. Addresses here are *linear*: byte offsets into that memory.
 * Machine address `m` (frame `mfn`, offset `o`) is at linear address FRAMES + m; nothing else maps one to the other. What is in an area is
 * described by its owner: the processor (cpu/layout.ts), the hypervisor (xen/).
 *
 *   0x0000_1000  state of the running vCPU        (STATE, one context block)
 *   0x0000_2000  mailbox between WebAssembly and TypeScript, page-crossing scratch
 *   0x0000_8000  the hypervisor's private copies of hypercall arguments
 *   0x0004_0000  saved contexts of the other vCPUs (CONTEXTS, CONTEXT_SIZE each)
 *   0x0010_0000  TLBs
 *   0x0080_0000  frame flags, one byte a frame
 *   0x0090_0000  code index pointer, four bytes a frame
 *   0x00c8_0000  TLB entries that map a frame, four bytes a frame
 *   0x0100_0000  frame table of the hypervisor, FRAME_INFO_SIZE bytes a frame
 *   0x0300_0000  the hypervisor's own data
 *   0x0400_0000  arena of decoded instructions
 *   0x2000_0000  machine frames
 */

export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;

/** The processor's: its running context, its words, a copy of an access that crosses a page. */
export const STATE = 0x1000;
/** u32: machine frames there are. */
export const FRAME_COUNT = 0x2058;

/** The hypervisor's private copies of hypercall arguments: xen/scratch.ts. */
export const HYPERVISOR_SCRATCH = 0x8000;
export const HYPERVISOR_SCRATCH_SIZE = 0x4000;

/** The processor's: contexts that do not run, TLBs. */
export const CONTEXTS = 0x4_0000;
export const TLB = 0x10_0000;

/** The processor's, by frame: a byte of flags, u32 linear address of its code index in 64-bit mode or 0, u32 names of TLB entries. */
export const FRAME_FLAGS = 0x80_0000;
export const FRAME_CODE = 0x90_0000;
export const FRAME_TLB = 0xc8_0000;

/** The hypervisor's, by frame: xen/mm/frame-info.ts. */
export const FRAME_TABLE = 0x100_0000;
export const FRAME_INFO_SIZE = 32;

/** What the environment shares with code that it has emitted itself (cpu/exits.ts): xen/vcpu-block.ts. */
export const HYPERVISOR_DATA = 0x300_0000;
export const HYPERVISOR_DATA_SIZE = 0x100_0000;

/** Decoded instructions. */
export const CODE_ARENA = 0x400_0000;
export const CODE_ARENA_END = 0x2000_0000;

export const FRAMES = 0x2000_0000;
/** The most machine frames that fit below 4 GiB of linear memory. */
export const MAX_FRAMES = (0x1_0000_0000 - FRAMES) / PAGE_SIZE;
