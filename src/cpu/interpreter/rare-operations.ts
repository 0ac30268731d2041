/** Names and numbers of the operations behind the `rare` service, shared by the semantics that call and the class that runs them. */

export const rareOperations = [
	"loadSegment",
	"farTransfer",
	"returnFar",
	"interruptReturn",
	"loadAccessRights",
	"loadSegmentLimit",
	"verifyRead",
	"verifyWrite",
	"fxsave",
	"fxrstor",
	"xsave",
	"xsaveopt",
	"xsavec",
	"xrstor",
] as const;
/** In the operand of loadSegment, beside selector and, from bit 16 on, segment: after SS interrupts wait. */
export const LOAD_SHADOWS = 1 << 24;
export type RareOperation = (typeof rareOperations)[number];

/** What an operation did: went on, faulted (the exception is in the context block), or set RIP and perhaps the mode. */
export const RareOutcome = { done: 0, fault: 1, transfer: 2 } as const;
export type RareOutcome = (typeof RareOutcome)[keyof typeof RareOutcome];
