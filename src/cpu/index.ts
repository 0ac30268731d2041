/** The processor by itself: an x86-64 CPU and MMU over one WebAssembly.Memory. */

export { Memory } from "../memory/memory.ts";
export { createProcessor, Engine, type EngineOptions, type ProcessorStatistics, type Tier } from "./engine.ts";
/** Offsets in the machine's memory: what another engine under paravirt/xen must keep to. */
export * as layout from "./layout.ts";
export * from "./processor.ts";
export { ARITHMETIC_FLAGS, Flag, Gpr, type GprName, Registers, Segment, type SegmentName } from "./registers.ts";
