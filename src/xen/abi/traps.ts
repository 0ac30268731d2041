/** Constants of the trap interface: public/callback.h, nmi.h and the exception numbers' names. */
export const CallbackType = { event: 0, failsafe: 1, syscall: 2, nmi: 4, sysenter: 5, syscall32: 7 } as const;
export const CALLBACKF_mask_events = 1;
export const CallbackOp = { register: 0, unregister: 1 } as const;
export const NmiOp = { registerCallback: 0, unregisterCallback: 1 } as const;

/** TI_GET_DPL and TI_GET_IF of struct trap_info.flags. */
export const TRAP_DPL_MASK = 3;
export const TRAP_MASKS_EVENTS = 4;

/** Exceptions by vector, as the manual abbreviates them; the counters and traces use these. */
export const EXCEPTION_NAMES: readonly string[] = [
	"#DE",
	"#DB",
	"NMI",
	"#BP",
	"#OF",
	"#BR",
	"#UD",
	"#NM",
	"#DF",
	"#CSO",
	"#TS",
	"#NP",
	"#SS",
	"#GP",
	"#PF",
	"#15",
	"#MF",
	"#AC",
	"#MC",
	"#XM",
	"#VE",
	"#CP",
];

/** "#PF", or "#29" for a vector without a name. */
export function exceptionName(vector: number): string {
	return EXCEPTION_NAMES[vector] ?? `#${vector}`;
}

/** Exceptions that push an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP. */
const ERROR_CODE_VECTORS = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17) | (1 << 21);

export function hasErrorCode(vector: number): boolean {
	return vector < 32 && ((ERROR_CODE_VECTORS >>> vector) & 1) !== 0;
}
