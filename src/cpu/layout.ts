/**
 * What is in the processor's areas of memory (memory/map.ts): a context, the words that emitted code and TypeScript share, TLBs, and what is kept for each frame.
 */
export {
	CODE_ARENA,
	CODE_ARENA_END,
	CONTEXTS,
	FRAME_CODE,
	FRAME_COUNT,
	FRAME_FLAGS,
	FRAME_TLB,
	FRAMES,
	PAGE_SHIFT,
	PAGE_SIZE,
	STATE,
	TLB,
} from "../memory/map.ts";

import { TLB } from "../memory/map.ts";

/** Context block: the architectural state of a vCPU. Offsets within it follow. */
export const CONTEXT_SIZE = 0x1000;

/** Register slots of eight bytes: the sixteen general registers, then what an effective address may add. */
export const REGISTERS = 0;
/** Slot numbers (times 8 = byte offset) beyond RAX..R15. */
export const SLOT_ZERO = 16;
export const SLOT_ES_BASE = 17;
export const SLOT_CS_BASE = 18;
export const SLOT_SS_BASE = 19;
export const SLOT_DS_BASE = 20;
export const SLOT_FS_BASE = 21;
export const SLOT_GS_BASE = 22;
/** Virtual address of the page that holds the instruction being executed: base of RIP-relative addresses. */
export const SLOT_PAGE = 23;
/**
 * Six slots, in the order of the selectors: what compatibility mode adds to an offset within a segment. The base's lower 32 bits, or NULL_SEGMENT
 * for a null selector. Right in compatibility mode only.
 */
export const SLOT_COMPATIBILITY_BASES = 24;
/** Bit 47 alone: what is added to it is not canonical, so that the MMU refuses an access through a null segment as it does any such address. */
export const NULL_SEGMENT = 2 ** 47;

/** Segment selectors, u16 each, in the order ES, CS, SS, DS, FS, GS. */
export const SELECTORS = 240;
/** 1 in 64-bit mode, 0 in compatibility mode (CS.L), u8; then CPL, u8. */
export const LONG_MODE = 252;
export const CPL = 253;
/** Which TLB context translates: 0 guest kernel, 1 guest user (u8). */
export const ADDRESS_SPACE = 254;
/**
 * Not 0 directly after MOV or POP to SS, until the next instruction has been executed: interrupts and debug traps wait. Bits 4-7: data breakpoints that do.
 * Right after an instruction that was executed by itself, as the last of a run is (u8).
 */
export const INTERRUPT_SHADOW = 255;
/** XMM0..15, sixteen bytes each. */
export const XMM = 256;
/** Upper halves of YMM0..15. */
export const YMM_HIGH = 512;
export const MXCSR = 768;
/** x87: eight registers of sixteen bytes by *physical* number (significand u64, sign and exponent u16). */
export const X87_REGISTERS = 784;
export const X87_CONTROL = 912;
/** Status word with TOP kept in X87_TOP. */
export const X87_STATUS = 914;
export const X87_TOP = 916;
/** Tag word in FXSAVE's abridged form: bit set = not empty, by physical register. */
export const X87_TAGS = 917;
export const X87_OPCODE = 918;
export const X87_INSTRUCTION_POINTER = 920;
export const X87_DATA_POINTER = 928;
/** DR0-3, DR6, DR7: u64 each. */
export const DEBUG_REGISTERS = 936;
export const CR0 = 984;
export const CR3 = 992;
export const CR4 = 1000;
export const EFER = 1008;
export const XCR0 = 1016;
/** TSC_AUX, as RDTSCP and RDPID return it. */
export const TSC_AUX = 1024;
export const RIP = 1032;
/** Lazy arithmetic flags; see cpu/semantics/flags.ts. */
export const FLAG_RESULT = 1040;
export const FLAG_CARRY = 1048;
/** RFLAGS without CF, PF, AF, ZF, SF, OF: TF, IF, DF, IOPL, NT, RF, AC, ID and the bit that is always 1. */
export const FLAGS_OTHER = 1056;
export const CR2 = 1064;
/** Vector (u32) and error code (u32) of the exception that ended {@link Processor.run}. */
export const VECTOR = 1072;
export const ERROR_CODE = 1076;

/** Words through which emitted code and TypeScript pass 64-bit values. */
export const MAILBOX = 0x2000;
/** The running processor's own words: u32 linear addresses of the L4 tables, by address space ... */
export const ROOTS = 0x2040;
/** ... the TLB of the running address space, and its number ... */
export const CURRENT_TLB = 0x2050;
export const CURRENT_SPACE = 0x2054;
/** ... machine frames there are, why run() ended (Exit), u64 count of TLB misses. */
export const EXIT_REASON = 0x205c;
export const TLB_MISSES = 0x2060;
/** Both parts of a modified access that crosses a page: linear addresses and lengths of the two parts. */
export const CROSSING_PARTS = 0x20c0;
/** Length in bytes of the instruction that ended the run. */
export const EXIT_LENGTH = 0x2068;
/** 1 after a fault of an address that is not canonical (u32). */
export const NOT_CANONICAL = 0x206c;
/** Fuel left when a region's function returned, and u64 address of the instruction whose variant it called last. */
export const FUEL_LEFT = 0x20d4;
export const FAULT_RIP = 0x20d8;
/** u32: what FLAG_RESULT and FLAG_CARRY are between two regions: a kind of translator/lazy-flags.ts. 0 (the words themselves) everywhere else. */
export const FLAG_KIND = 0x20e8;
/** u32: changes whenever code is forgotten, which a region asks after calling a variant that may have written to its code. */
export const CODE_GENERATION = 0x20ec;
/** u64 count of the instructions that regions have executed. */
export const REGION_INSTRUCTIONS = 0x20e0;
/** u64 counts: entries into regions, and of them those that ended before an instruction that the interpreter had to execute. */
export const REGION_ENTRIES = 0x2100;
export const REGION_REDOS = 0x2108;
/** ... and how often a region has led to where none begins. */
export const REGION_MISSES = 0x2110;
/** u8 for each TLB context: the mode of its execute entries, 1 long mode, 0 compatibility. */
export const SPACE_MODES = 0x20f0;
/** Exits that the environment's emitted code has dealt with since run() was entered, and the fuel left at a time stamp. */
export const EXITS_HANDLED = 0x20f4;
export const RUN_LEFT = 0x20f8;
/**
 * The time stamp between two questions to the environment (interpreter/time-stamp.ts): for how much fuel it may go on from the last answer (u32, 0 where
 * it may not), the fuel left then, and u64 that answer and the time stamp that was last told.
 */
export const TSC_WINDOW = 0x2118;
export const TSC_LEFT = 0x211c;
export const TSC_BASE = 0x2120;
export const TSC_LAST = 0x2128;
/** i64: the virtual page whose stores go to a handler while one instruction runs ({@link Processor.runDiverted}); NO_PAGE else. */
export const DIVERTED_PAGE = 0x2130;
/** Value of a store on its way through the slow path. */
export const STORE_BUFFER = 0x2080;
/** Copy of the bytes of an access that crosses a page, while it is being read or modified (up to 4 KiB). */
export const CROSSING = 0x3000;

/** Table of the CRC32 instruction by bytes, u32 each; filled at its first use. */
export const CRC32C_TABLE = 0x4000;

export const CONTEXT_COUNT = 128;

/** An entry of a TLB: tags are the page's virtual address, or NO_PAGE. */
export const TLB_ENTRIES = 8192;
export const TLB_ENTRY_SIZE = 32;
export const TLB_READ = 0;
export const TLB_WRITE = 8;
export const TLB_EXECUTE = 16;
/** i32 to add to the low half of a virtual address to get its linear address. */
export const TLB_ADDEND = 24;
/** u32: linear address of the code index of the frame, or 0 (execute entries). */
export const TLB_CODE = 28;
export const TLB_SIZE = TLB_ENTRIES * TLB_ENTRY_SIZE;
export const TLB_CONTEXTS = 4;
/** For each TLB context, for the lower half of the addresses and for the upper: u32 count and u16 numbers of the entries filled since its last flush. */
export const TLB_LOG = TLB + TLB_CONTEXTS * TLB_SIZE;
export const TLB_LOG_SIZE = 0x8000;
/** A tag that no page has: not page-aligned. */
export const NO_PAGE = 1;

/** Of FRAME_FLAGS, one byte a frame: the frame holds decoded or translated code: stores to it must go through the slow path. */
export const FRAME_HAS_CODE = 1;
/**
 * FRAME_TLB has two u16 a frame: which TLB entries map it, as their numbers over all contexts plus one, so that a frame's translations are found
 * without a search. 0 for none; this in the first: there may be more than two. Entries that have gone to other pages since may still be named.
 */
export const FRAME_TLB_MANY = 0xffff;

/** What the environment shares with code that it has emitted itself (exits.ts): xen/vcpu-block.ts; and xen/mm/free-frames.ts. */
